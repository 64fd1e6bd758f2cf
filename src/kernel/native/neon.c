// Eight half floats at a time on 64-bit ARM, where conversions of binary16 are part of the base.
#include "sums.h"
#if defined(__aarch64__) || defined(_M_ARM64)
#include "floats.h"
#include <arm_neon.h>

#define TAIL(add, width, lanes)                                                                                  \
	if (i < count) {                                                                                             \
		uint8_t a[16] = {0}, b[16] = {0}, c[16];                                                                 \
		size_t bytes = (count - i) * (width);                                                                    \
		memcpy(a, base + i * (width), bytes);                                                                    \
		memcpy(b, delta + i * (width), bytes);                                                                   \
		suspicious |= add(a, b, c, lanes, sign);                                                                       \
		memcpy(out + i * (width), c, bytes);                                                                     \
	}

static int f16_neon(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	const uint8x16_t flip = vreinterpretq_u8_u32(vdupq_n_u32(sign));
	const uint16x8_t exponent = vdupq_n_u16(0x7c00), magnitude = vdupq_n_u16(0x7fff);
	uint16x8_t seen = vdupq_n_u16(0);
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		float16x8_t x = vreinterpretq_f16_u8(veorq_u8(vld1q_u8(base + 2 * i), flip));
		float16x8_t y = vreinterpretq_f16_u8(vld1q_u8(delta + 2 * i));
		float32x4_t low = vaddq_f32(vcvt_f32_f16(vget_low_f16(x)), vcvt_f32_f16(vget_low_f16(y)));
		float32x4_t high = vaddq_f32(vcvt_f32_f16(vget_high_f16(x)), vcvt_f32_f16(vget_high_f16(y)));
		uint16x8_t sum = vreinterpretq_u16_f16(vcombine_f16(vcvt_f16_f32(low), vcvt_f16_f32(high)));
		sum = vbslq_u16(vcgtq_u16(vandq_u16(sum, magnitude), exponent), vdupq_n_u16(0x7e00), sum);
		seen = vorrq_u16(seen, vceqq_u16(vandq_u16(sum, exponent), exponent));
		vst1q_u8(out + 2 * i, vreinterpretq_u8_u16(sum));
	}
	int suspicious = vmaxvq_u16(seen) != 0;
	TAIL(f16_neon, 2, 8)
	return suspicious;
}

static inline uint32x4_t round_bf16(float32x4_t value) {
	uint32x4_t bits = vreinterpretq_u32_f32(value);
	uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
	uint32x4_t rounded = vaddq_u32(bits, vaddq_u32(odd, vdupq_n_u32(0x7fff)));
	return vbslq_u32(vceqq_f32(value, value), rounded, vdupq_n_u32(0x7fc00000));
}

static int bf16_neon(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	const uint8x16_t flip = vreinterpretq_u8_u32(vdupq_n_u32(sign));
	const uint32x4_t upper = vdupq_n_u32(0xffff0000);
	const uint16x8_t exponent = vdupq_n_u16(0x7f80);
	uint16x8_t seen = vdupq_n_u16(0);
	size_t i = 0;
	for (; i + 8 <= count; i += 8) {
		uint32x4_t x = vreinterpretq_u32_u8(veorq_u8(vld1q_u8(base + 2 * i), flip));
		uint32x4_t y = vreinterpretq_u32_u8(vld1q_u8(delta + 2 * i));
		uint32x4_t odd =
			round_bf16(vaddq_f32(vreinterpretq_f32_u32(vandq_u32(x, upper)), vreinterpretq_f32_u32(vandq_u32(y, upper))));
		uint32x4_t even =
			round_bf16(vaddq_f32(vreinterpretq_f32_u32(vshlq_n_u32(x, 16)), vreinterpretq_f32_u32(vshlq_n_u32(y, 16))));
		uint16x8_t sum = vreinterpretq_u16_u32(vorrq_u32(vandq_u32(odd, upper), vshrq_n_u32(even, 16)));
		seen = vorrq_u16(seen, vceqq_u16(vandq_u16(sum, exponent), exponent));
		vst1q_u8(out + 2 * i, vreinterpretq_u8_u16(sum));
	}
	int suspicious = vmaxvq_u16(seen) != 0;
	TAIL(bf16_neon, 2, 8)
	return suspicious;
}

static int f32_neon(const uint8_t *base, const uint8_t *delta, uint8_t *out, size_t count, uint32_t sign) {
	const uint8x16_t flip = vreinterpretq_u8_u32(vdupq_n_u32(sign & 0x80000000));
	const uint32x4_t exponent = vdupq_n_u32(0x7f800000);
	uint32x4_t seen = vdupq_n_u32(0);
	size_t i = 0;
	for (; i + 4 <= count; i += 4) {
		float32x4_t x = vreinterpretq_f32_u8(veorq_u8(vld1q_u8(base + 4 * i), flip));
		float32x4_t sum = vaddq_f32(x, vreinterpretq_f32_u8(vld1q_u8(delta + 4 * i)));
		uint32x4_t bits = vbslq_u32(vceqq_f32(sum, sum), vreinterpretq_u32_f32(sum), vdupq_n_u32(0x7fc00000));
		seen = vorrq_u32(seen, vceqq_u32(vandq_u32(bits, exponent), exponent));
		vst1q_u8(out + 4 * i, vreinterpretq_u8_u32(bits));
	}
	int suspicious = vmaxvq_u32(seen) != 0;
	TAIL(f32_neon, 4, 4)
	return suspicious;
}

// The last elements, which fill no vector, are left to the scalar code.
static void decode_f16_neon(const uint8_t *from, float *to, size_t count) {
	size_t i = 0;
	for (; i + 4 <= count; i += 4) vst1q_f32(to + i, vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(from + 2 * i))));
	decode_f16s(from + 2 * i, to + i, count - i);
}

static void decode_bf16_neon(const uint8_t *from, float *to, size_t count) {
	size_t i = 0;
	for (; i + 4 <= count; i += 4)
		vst1q_f32(to + i, vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(from + 2 * i)), 16)));
	decode_bf16s(from + 2 * i, to + i, count - i);
}

static int encode_f16_neon(const float *from, uint8_t *to, size_t count) {
	const uint16x4_t exponent = vdup_n_u16(0x7c00), magnitude = vdup_n_u16(0x7fff);
	uint16x4_t seen = vdup_n_u16(0);
	size_t i = 0;
	for (; i + 4 <= count; i += 4) {
		uint16x4_t half = vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(from + i)));
		half = vbsl_u16(vcgt_u16(vand_u16(half, magnitude), exponent), vdup_n_u16(0x7e00), half);
		seen = vorr_u16(seen, vceq_u16(vand_u16(half, exponent), exponent));
		vst1_u8(to + 2 * i, vreinterpret_u8_u16(half));
	}
	int rest = i < count && encode_f16s(from + i, to + 2 * i, count - i);
	return rest || vmaxv_u16(seen) != 0;
}

static int encode_bf16_neon(const float *from, uint8_t *to, size_t count) {
	const uint16x4_t exponent = vdup_n_u16(0x7f80);
	uint16x4_t seen = vdup_n_u16(0);
	size_t i = 0;
	for (; i + 4 <= count; i += 4) {
		uint16x4_t half = vshrn_n_u32(round_bf16(vld1q_f32(from + i)), 16);
		seen = vorr_u16(seen, vceq_u16(vand_u16(half, exponent), exponent));
		vst1_u8(to + 2 * i, vreinterpret_u8_u16(half));
	}
	int rest = i < count && encode_bf16s(from + i, to + 2 * i, count - i);
	return rest || vmaxv_u16(seen) != 0;
}

static int encode_f32_neon(const float *from, uint8_t *to, size_t count) {
	const uint32x4_t exponent = vdupq_n_u32(0x7f800000);
	uint32x4_t seen = vdupq_n_u32(0);
	size_t i = 0;
	for (; i + 4 <= count; i += 4) {
		float32x4_t value = vld1q_f32(from + i);
		uint32x4_t bits = vbslq_u32(vceqq_f32(value, value), vreinterpretq_u32_f32(value), vdupq_n_u32(0x7fc00000));
		seen = vorrq_u32(seen, vceqq_u32(vandq_u32(bits, exponent), exponent));
		vst1q_u8(to + 4 * i, vreinterpretq_u8_u32(bits));
	}
	int rest = i < count && encode_f32s(from + i, to + 4 * i, count - i);
	return rest || vmaxvq_u32(seen) != 0;
}

static const level neon_level = {
	"neon",
	{f16_neon, bf16_neon, f32_neon},
	{decode_f16_neon, decode_bf16_neon, decode_f32s},
	{encode_f16_neon, encode_bf16_neon, encode_f32_neon},
};

const level *const *levels(void) {
	static const level *const all[] = {&neon_level, &scalar_level, 0};
	return all;
}
#endif
