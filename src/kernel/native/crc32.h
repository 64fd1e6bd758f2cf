// CRC-32 as zip archives have it (reflected polynomial 0x04c11db7), by carry-less multiplication.
#ifndef MERGE_DELTA_CRC32_H
#define MERGE_DELTA_CRC32_H
#include <stddef.h>
#include <stdint.h>

typedef struct {
	const char *name;
	// The CRC-32 of what went before, which had the CRC-32 `before`, and these bytes.
	uint32_t (*crc32)(uint32_t before, const uint8_t *data, size_t length);
} crc32_way;

// The ways this processor has, the fastest first, with a null behind; none where zlib's own is as good.
const crc32_way *const *crc32_ways(void);

#endif
