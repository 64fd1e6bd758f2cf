// Sixty-four, 128 or 256 bytes at a time.
#include "crc32.h"
#if defined(__x86_64__) || defined(_M_X64)
#include "fold.h"
#ifdef _MSC_VER
#define FOR_VCLMUL
#define FOR_VCLMUL512
#else
#define FOR_VCLMUL __attribute__((target("vpclmulqdq,avx2,pclmul,sse4.1")))
#define FOR_VCLMUL512 __attribute__((target("avx512f,vpclmulqdq,avx2,pclmul,sse4.1")))
#endif

FOR_CLMUL static uint32_t crc32_clmul(uint32_t before, const uint8_t *data, size_t length) {
	uint32_t crc = ~before;
	if (length >= 64) {
		const __m128i by64 = BY_64;
		__m128i sum[4];
		for (int i = 0; i < 4; i++) sum[i] = _mm_loadu_si128((const __m128i *)data + i);
		sum[0] = _mm_xor_si128(sum[0], _mm_cvtsi32_si128((int)crc));
		for (data += 64, length -= 64; length >= 64; data += 64, length -= 64)
			for (int i = 0; i < 4; i++) sum[i] = move(sum[i], by64, _mm_loadu_si128((const __m128i *)data + i));
		crc = finish(sum, 4);
	}
	return ~bitwise(crc, data, length);
}

FOR_VCLMUL static inline __m256i move_two(__m256i sum, __m256i by, __m256i next) {
	__m256i low = _mm256_clmulepi64_epi128(sum, by, 0x00), high = _mm256_clmulepi64_epi128(sum, by, 0x11);
	return _mm256_xor_si256(_mm256_xor_si256(low, high), next);
}

FOR_VCLMUL static uint32_t crc32_vclmul(uint32_t before, const uint8_t *data, size_t length) {
	if (length < 256) return crc32_clmul(before, data, length);
	const __m256i by128 = _mm256_broadcastsi128_si256(BY_128);
	__m256i sum[4];
	for (int i = 0; i < 4; i++) sum[i] = _mm256_loadu_si256((const __m256i *)data + i);
	sum[0] = _mm256_xor_si256(sum[0], _mm256_set_epi32(0, 0, 0, 0, 0, 0, 0, (int)~before));
	for (data += 128, length -= 128; length >= 128; data += 128, length -= 128)
		for (int i = 0; i < 4; i++) sum[i] = move_two(sum[i], by128, _mm256_loadu_si256((const __m256i *)data + i));
	__m128i lanes[8];
	for (int i = 0; i < 4; i++) _mm256_storeu_si256((__m256i *)(lanes + 2 * i), sum[i]);
	return ~bitwise(finish(lanes, 8), data, length);
}

FOR_VCLMUL512 static inline __m512i move_four(__m512i sum, __m512i by, __m512i next) {
	__m512i low = _mm512_clmulepi64_epi128(sum, by, 0x00), high = _mm512_clmulepi64_epi128(sum, by, 0x11);
	return _mm512_xor_si512(_mm512_xor_si512(low, high), next);
}

FOR_VCLMUL512 static uint32_t crc32_vclmul512(uint32_t before, const uint8_t *data, size_t length) {
	if (length < 512) return crc32_vclmul(before, data, length);
	const __m512i by256 = _mm512_broadcast_i32x4(BY_256);
	__m512i sum[4];
	for (int i = 0; i < 4; i++) sum[i] = _mm512_loadu_si512((const __m512i *)data + i);
	sum[0] = _mm512_xor_si512(sum[0], _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)~before)));
	for (data += 256, length -= 256; length >= 256; data += 256, length -= 256)
		for (int i = 0; i < 4; i++) sum[i] = move_four(sum[i], by256, _mm512_loadu_si512((const __m512i *)data + i));
	__m128i lanes[16];
	for (int i = 0; i < 4; i++) _mm512_storeu_si512(lanes + 4 * i, sum[i]);
	return ~bitwise(finish(lanes, 16), data, length);
}

#ifdef _MSC_VER
static bool saves(uint64_t registers) {
	return has_leaf(1, 2, 27) && (_xgetbv(0) & registers) == registers;
}
#define HAS_VCLMUL (has_leaf(7, 2, 10) && saves(6))
#define HAS_VCLMUL512 (has_leaf(7, 1, 16) && saves(0xe6))
#else
#define HAS_VCLMUL (__builtin_cpu_supports("vpclmulqdq") && __builtin_cpu_supports("avx2"))
#define HAS_VCLMUL512 __builtin_cpu_supports("avx512f")
#endif

const crc32_way *const *crc32_ways(void) {
	static const crc32_way clmul = {"clmul", crc32_clmul}, vclmul = {"vclmul", crc32_vclmul};
	static const crc32_way vclmul512 = {"vclmul512", crc32_vclmul512};
	static const crc32_way *const all[] = {&vclmul512, &vclmul, &clmul, 0};
	return !HAS_CLMUL ? all + 3 : !HAS_VCLMUL ? all + 2 : all + !HAS_VCLMUL512;
}
#else
const crc32_way *const *crc32_ways(void) {
	static const crc32_way *const none[] = {0};
	return none;
}
#endif
