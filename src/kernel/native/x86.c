// Sixteen or thirty-two half floats at a time. Compiled on any x86-64 compiler; run only where the
// processor has the instructions.
#include "sums.h"
#if defined(__x86_64__) || defined(_M_X64)
#include "floats.h"
#include <immintrin.h>
#ifdef _MSC_VER
#include <intrin.h>
#define FOR_AVX2
#define FOR_AVX512
#else
#define FOR_AVX2 __attribute__((target("avx2,f16c")))
#define FOR_AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx2,f16c")))
#endif

// What is left after the last whole vector, through a padded copy, so that one path rounds everything.
#define TAIL(add, width, lanes)                                                                                  \
	if (i < count) {                                                                                             \
		uint8_t a[64] = {0}, b[64] = {0}, c[64];                                                                 \
		size_t bytes = (count - i) * (width);                                                                    \
		memcpy(a, base + i * (width), bytes);                                                                    \
		memcpy(b, delta + i * (width), bytes);                                                                   \
		suspicious |= add(a, b, c, lanes, sign);                                                                       \
		memcpy(out + i * (width), c, bytes);                                                                     \
	}

// Writes every NaN as the one pattern.
static void settle_nans_f16(uint8_t *out, size_t count) {
	const uint16_t nan = 0x7e00;
	for (size_t i = 0; i < count; i++) {
		uint16_t half;
		memcpy(&half, out + 2 * i, 2);
		if ((half & 0x7fff) > 0x7c00) memcpy(out + 2 * i, &nan, 2);
	}
}

// Two half vectors side by side: putting them together costs more than all the rest. NaNs are looked at afterwards,
// since hardly any model has one.
FOR_AVX2 static int f16_avx2(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	const __m128i flip = _mm_set1_epi32((int)sign);
	const __m128i magnitude = _mm_set1_epi16(0x7fff), largest_finite = _mm_set1_epi16(0x7bff);
	__m128i most = _mm_setzero_si128();
	size_t i = 0;
	for (; i + 16 <= count; i += 16) {
		const __m128i *x = (const __m128i *)(base + 2 * i), *y = (const __m128i *)(delta + 2 * i);
		__m128i *sum = (__m128i *)(out + 2 * i);
		__m256 x0 = _mm256_cvtph_ps(_mm_xor_si128(_mm_loadu_si128(x), flip));
		__m256 x1 = _mm256_cvtph_ps(_mm_xor_si128(_mm_loadu_si128(x + 1), flip));
		__m256 sum0 = _mm256_add_ps(x0, _mm256_cvtph_ps(_mm_loadu_si128(y)));
		__m256 sum1 = _mm256_add_ps(x1, _mm256_cvtph_ps(_mm_loadu_si128(y + 1)));
		__m128i half0 = _mm256_cvtps_ph(sum0, _MM_FROUND_TO_NEAREST_INT);
		__m128i half1 = _mm256_cvtps_ph(sum1, _MM_FROUND_TO_NEAREST_INT);
		_mm_storeu_si128(sum, half0);
		_mm_storeu_si128(sum + 1, half1);
		most = _mm_max_epi16(most, _mm_max_epi16(_mm_and_si128(half0, magnitude), _mm_and_si128(half1, magnitude)));
	}
	int suspicious = _mm_movemask_epi8(_mm_cmpgt_epi16(most, largest_finite)) != 0;
	if (suspicious) settle_nans_f16(out, i);
	TAIL(f16_avx2, 2, 16)
	return suspicious;
}

// Two vectors of binary32 patterns, rounded to BF16 in the upper halves of their lanes.
FOR_AVX2 static inline __m256i round_bf16_avx2(__m256 value) {
	__m256i bits = _mm256_castps_si256(value);
	__m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
	__m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
	__m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
	return _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), is_nan);
}

FOR_AVX2 static int bf16_avx2(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	const __m256i flip = _mm256_set1_epi32((int)sign);
	const __m256i upper = _mm256_set1_epi32((int)0xffff0000), exponent = _mm256_set1_epi16(0x7f80);
	__m256i seen = _mm256_setzero_si256();
	size_t i = 0;
	for (; i + 16 <= count; i += 16) {
		__m256i x = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(base + 2 * i)), flip);
		__m256i y = _mm256_loadu_si256((const __m256i *)(delta + 2 * i));
		// Even and odd elements apart: no shuffles, the upper half of a lane is in its place already.
		__m256i odd = round_bf16_avx2(
			_mm256_add_ps(_mm256_castsi256_ps(_mm256_and_si256(x, upper)), _mm256_castsi256_ps(_mm256_and_si256(y, upper))));
		__m256i even = round_bf16_avx2(
			_mm256_add_ps(_mm256_castsi256_ps(_mm256_slli_epi32(x, 16)), _mm256_castsi256_ps(_mm256_slli_epi32(y, 16))));
		__m256i sum = _mm256_blend_epi16(_mm256_srli_epi32(even, 16), odd, 0xaa);
		seen = _mm256_or_si256(seen, _mm256_cmpeq_epi16(_mm256_and_si256(sum, exponent), exponent));
		_mm256_storeu_si256((__m256i *)(out + 2 * i), sum);
	}
	int suspicious = !_mm256_testz_si256(seen, seen);
	TAIL(bf16_avx2, 2, 16)
	return suspicious;
}

FOR_AVX2 static int f32_avx2(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	const __m256 flip = _mm256_castsi256_ps(_mm256_set1_epi32((int)(sign & 0x80000000)));
	const __m256i exponent = _mm256_set1_epi32(0x7f800000);
	const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
	__m256i seen = _mm256_setzero_si256();
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256 x = _mm256_xor_ps(_mm256_loadu_ps((const float *)(base + 4 * i)), flip);
		__m256 sum = _mm256_add_ps(x, _mm256_loadu_ps((const float *)(delta + 4 * i)));
		sum = _mm256_blendv_ps(sum, nan, _mm256_cmp_ps(sum, sum, _CMP_UNORD_Q));
		seen = _mm256_or_si256(seen, _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(sum), exponent), exponent));
		_mm256_storeu_ps((float *)(out + 4 * i), sum);
	}
	int suspicious = !_mm256_testz_si256(seen, seen);
	TAIL(f32_avx2, 4, 8)
	return suspicious;
}

// The last elements, which fill no vector, are left to the scalar code.
FOR_AVX2 static void decode_f16_avx2(const uint8_t *from, float *to, size_t count) {
	size_t i = 0;
	for (; i + 8 <= count; i += 8)
		_mm256_storeu_ps(to + i, _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(from + 2 * i))));
	decode_f16s(from + 2 * i, to + i, count - i);
}

FOR_AVX2 static void decode_bf16_avx2(const uint8_t *from, float *to, size_t count) {
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256i wide = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)(from + 2 * i)));
		_mm256_storeu_ps(to + i, _mm256_castsi256_ps(_mm256_slli_epi32(wide, 16)));
	}
	decode_bf16s(from + 2 * i, to + i, count - i);
}

FOR_AVX2 static int encode_f16_avx2(const float *from, uint8_t *to, size_t count) {
	const __m128i exponent = _mm_set1_epi16(0x7c00), magnitude = _mm_set1_epi16(0x7fff), nan = _mm_set1_epi16(0x7e00);
	__m128i seen = _mm_setzero_si128();
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m128i half = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
		half = _mm_blendv_epi8(half, nan, _mm_cmpgt_epi16(_mm_and_si128(half, magnitude), exponent));
		seen = _mm_or_si128(seen, _mm_cmpeq_epi16(_mm_and_si128(half, exponent), exponent));
		_mm_storeu_si128((__m128i *)(to + 2 * i), half);
	}
	int rest = i < count && encode_f16s(from + i, to + 2 * i, count - i);
	return rest || !_mm_testz_si128(seen, seen);
}

FOR_AVX2 static int encode_bf16_avx2(const float *from, uint8_t *to, size_t count) {
	const __m256i exponent = _mm256_set1_epi32(0x7f800000);
	__m256i seen = _mm256_setzero_si256();
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256i bits = round_bf16_avx2(_mm256_loadu_ps(from + i));
		seen = _mm256_or_si256(seen, _mm256_cmpeq_epi32(_mm256_and_si256(bits, exponent), exponent));
		__m256i packed = _mm256_packus_epi32(_mm256_srli_epi32(bits, 16), _mm256_setzero_si256());
		packed = _mm256_permute4x64_epi64(packed, 0x08);
		_mm_storeu_si128((__m128i *)(to + 2 * i), _mm256_castsi256_si128(packed));
	}
	int rest = i < count && encode_bf16s(from + i, to + 2 * i, count - i);
	return rest || !_mm256_testz_si256(seen, seen);
}

FOR_AVX2 static int encode_f32_avx2(const float *from, uint8_t *to, size_t count) {
	const __m256i exponent = _mm256_set1_epi32(0x7f800000);
	const __m256 nan = _mm256_castsi256_ps(_mm256_set1_epi32(0x7fc00000));
	__m256i seen = _mm256_setzero_si256();
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		__m256 value = _mm256_loadu_ps(from + i);
		value = _mm256_blendv_ps(value, nan, _mm256_cmp_ps(value, value, _CMP_UNORD_Q));
		seen = _mm256_or_si256(seen, _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_castps_si256(value), exponent), exponent));
		_mm256_storeu_ps((float *)(to + 4 * i), value);
	}
	int rest = i < count && encode_f32s(from + i, to + 4 * i, count - i);
	return rest || !_mm256_testz_si256(seen, seen);
}

FOR_AVX512 static int f16_avx512(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	const __m256i flip = _mm256_set1_epi32((int)sign);
	const __m512i exponent = _mm512_set1_epi16(0x7c00), magnitude = _mm512_set1_epi16(0x7fff);
	__mmask32 seen = 0;
	size_t i = 0;
	for (; i + 32 <= count; i += 32) {
		const __m256i *from = (const __m256i *)(base + 2 * i), *y = (const __m256i *)(delta + 2 * i);
		__m256i x0 = _mm256_xor_si256(_mm256_loadu_si256(from), flip), x1 = _mm256_xor_si256(_mm256_loadu_si256(from + 1), flip);
		__m512 low = _mm512_add_ps(_mm512_cvtph_ps(x0), _mm512_cvtph_ps(_mm256_loadu_si256(y)));
		__m512 high = _mm512_add_ps(_mm512_cvtph_ps(x1), _mm512_cvtph_ps(_mm256_loadu_si256(y + 1)));
		__m512i sum = _mm512_inserti64x4(
			_mm512_castsi256_si512(_mm512_cvtps_ph(low, _MM_FROUND_TO_NEAREST_INT)), _mm512_cvtps_ph(high, _MM_FROUND_TO_NEAREST_INT), 1);
		__mmask32 is_nan = _mm512_cmpgt_epi16_mask(_mm512_and_si512(sum, magnitude), exponent);
		sum = _mm512_mask_set1_epi16(sum, is_nan, 0x7e00);
		seen |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(sum, exponent), exponent);
		_mm512_storeu_si512(out + 2 * i, sum);
	}
	int suspicious = seen != 0;
	TAIL(f16_avx512, 2, 32)
	return suspicious;
}

FOR_AVX512 static inline __m512i round_bf16_avx512(__m512 value) {
	__m512i bits = _mm512_castps_si512(value);
	__m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
	__m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
	return _mm512_mask_set1_epi32(rounded, _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q), 0x7fc00000);
}

FOR_AVX512 static int bf16_avx512(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	const __m512i flip = _mm512_set1_epi32((int)sign);
	const __m512i upper = _mm512_set1_epi32((int)0xffff0000), exponent = _mm512_set1_epi16(0x7f80);
	__mmask32 seen = 0;
	size_t i = 0;
	for (; i + 32 <= count; i += 32) {
		__m512i x = _mm512_xor_si512(_mm512_loadu_si512(base + 2 * i), flip), y = _mm512_loadu_si512(delta + 2 * i);
		__m512i odd = round_bf16_avx512(
			_mm512_add_ps(_mm512_castsi512_ps(_mm512_and_si512(x, upper)), _mm512_castsi512_ps(_mm512_and_si512(y, upper))));
		__m512i even = round_bf16_avx512(
			_mm512_add_ps(_mm512_castsi512_ps(_mm512_slli_epi32(x, 16)), _mm512_castsi512_ps(_mm512_slli_epi32(y, 16))));
		__m512i sum = _mm512_mask_blend_epi16(0xaaaaaaaa, _mm512_srli_epi32(even, 16), odd);
		seen |= _mm512_cmpeq_epi16_mask(_mm512_and_si512(sum, exponent), exponent);
		_mm512_storeu_si512(out + 2 * i, sum);
	}
	int suspicious = seen != 0;
	TAIL(bf16_avx512, 2, 32)
	return suspicious;
}

#ifdef _MSC_VER
static bool has(const char *feature) {
	int leaf1[4], leaf7[4];
	__cpuid(leaf1, 1);
	__cpuidex(leaf7, 7, 0);
	bool os_saves = (leaf1[2] >> 27) & 1;
	uint64_t saved = os_saves ? _xgetbv(0) : 0;
	if (!strcmp(feature, "avx2")) return (saved & 6) == 6 && ((leaf7[1] >> 5) & 1) && ((leaf1[2] >> 29) & 1);
	return (saved & 0xe6) == 0xe6 && ((leaf7[1] >> 16) & 1) && ((leaf7[1] >> 30) & 1) && ((leaf7[1] >> 31) & 1);
}
#define HAS_AVX2 has("avx2")
#define HAS_AVX512 has("avx512")
#else
#define HAS_AVX2 (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c"))
#define HAS_AVX512 \
	(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl"))
#endif

#define CONVERSIONS                                                                                              \
	{decode_f16_avx2, decode_bf16_avx2, decode_f32s}, { encode_f16_avx2, encode_bf16_avx2, encode_f32_avx2 }
static const level avx2_level = {"avx2", {f16_avx2, bf16_avx2, f32_avx2}, CONVERSIONS};
// Sums of binary32 and conversions are bound by memory either way.
static const level avx512_level = {"avx512", {f16_avx512, bf16_avx512, f32_avx2}, CONVERSIONS};

const level *const *levels(void) {
	static const level *const all[] = {&avx512_level, &avx2_level, &scalar_level, 0};
	return HAS_AVX512 && HAS_AVX2 ? all : HAS_AVX2 ? all + 1 : all + 2;
}
#endif
