// The instructions that do two rounds wait for each other most of the time, which is enough to take a CRC-32 as well.
#include "sha256.h"
#if defined(__x86_64__) || defined(_M_X64)
#include "fold.h"
#ifdef _MSC_VER
#define FOR_SHA
#else
#include <cpuid.h>
#define FOR_SHA __attribute__((target("sha,pclmul,sse4.1")))
#endif

static const uint32_t ROUND_CONSTANTS[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5, //
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174, //
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da, //
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, //
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, //
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, //
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3, //
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2, //
};

// The state as the instructions want it: words a, b, e, f and c, d, g, h, the first of each on the left.
typedef struct {
	__m128i abef, cdgh;
} state;

FOR_SHA static inline state load(const uint32_t *words) {
	__m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)words), 0x1b);
	__m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128((const __m128i *)(words + 4)), 0x1b);
	return (state){_mm_unpackhi_epi64(efgh, abcd), _mm_unpacklo_epi64(efgh, abcd)};
}

FOR_SHA static inline void store(uint32_t *words, state s) {
	__m128i abcd = _mm_unpackhi_epi64(s.cdgh, s.abef), efgh = _mm_unpacklo_epi64(s.cdgh, s.abef);
	_mm_storeu_si128((__m128i *)words, _mm_shuffle_epi32(abcd, 0x1b));
	_mm_storeu_si128((__m128i *)(words + 4), _mm_shuffle_epi32(efgh, 0x1b));
}

FOR_SHA uint32_t sha256_crc32(uint32_t *words, const uint8_t *data, size_t blocks, uint32_t before) {
	if (blocks == 0) return before;
	const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203), by64 = BY_64;
	__m128i sum[4] = {0}, begin = _mm_cvtsi32_si128((int)~before);
	state now = load(words);
	for (size_t block = 0; block < blocks; block++, data += 64) {
		const state last = now;
		__m128i w[4];
		for (int i = 0; i < 4; i++) {
			__m128i bytes = _mm_loadu_si128((const __m128i *)data + i);
			sum[i] = move(sum[i], by64, bytes);
			w[i] = _mm_shuffle_epi8(bytes, big_endian);
		}
		sum[0] = _mm_xor_si128(sum[0], begin);
		begin = _mm_setzero_si128();
#pragma GCC unroll 16
		for (int round = 0; round < 16; round++) { // four rounds each
			__m128i *next = &w[round & 3];
			if (round >= 4) {
				__m128i newest = w[(round + 3) & 3], seventh = _mm_alignr_epi8(newest, w[(round + 2) & 3], 4);
				__m128i four = _mm_add_epi32(_mm_sha256msg1_epu32(*next, w[(round + 1) & 3]), seventh);
				*next = _mm_sha256msg2_epu32(four, newest);
			}
			__m128i four = _mm_add_epi32(*next, _mm_loadu_si128((const __m128i *)(ROUND_CONSTANTS + 4 * round)));
			now.cdgh = _mm_sha256rnds2_epu32(now.cdgh, now.abef, four);
			now.abef = _mm_sha256rnds2_epu32(now.abef, now.cdgh, _mm_shuffle_epi32(four, 0x0e));
		}
		now.abef = _mm_add_epi32(now.abef, last.abef);
		now.cdgh = _mm_add_epi32(now.cdgh, last.cdgh);
	}
	store(words, now);
	return ~finish(sum, 4);
}

bool has_sha256(void) {
#ifdef _MSC_VER
	return HAS_CLMUL && has_leaf(7, 1, 29);
#else
	unsigned eax, ebx = 0, ecx, edx;
	return HAS_CLMUL && __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && ((ebx >> 29) & 1);
#endif
}
#else
bool has_sha256(void) {
	return false;
}
uint32_t sha256_crc32(uint32_t *words, const uint8_t *data, size_t blocks, uint32_t before) {
	(void)words, (void)data, (void)blocks;
	return before;
}
#endif
