// SHA-256 and CRC-32 of the same bytes in the time of the first.
#ifndef MERGE_DELTA_SHA256_H
#define MERGE_DELTA_SHA256_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Whether this processor has the instructions. Virtual machines take long to tell.
bool has_sha256(void);

// Take blocks of 64 bytes into a state, the eight words a to h. Returns the CRC-32 of what had `before`, and these.
uint32_t sha256_crc32(uint32_t *words, const uint8_t *data, size_t blocks, uint32_t before);

#endif
