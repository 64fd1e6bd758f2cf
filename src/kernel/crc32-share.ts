/** The polynomial of zip's CRC-32, x³² aside: bit 31 is x⁰, bit 0 is x³¹. */
const POLYNOMIAL = 0xedb88320;
const ONE = 2 ** 31;
const X = 2 ** 30;

/**
 * What the CRC-32 of a piece of some bytes gives to theirs, which is the XOR of what all pieces give. So pieces can be
 * taken in any order, each as if it stood alone. It is what zlib's `crc32_combine` does with the first of two.
 *
 * @param crc32        of the piece, after nothing
 * @param bytesBehind  so many follow the piece
 */
export function crc32Share(crc32: number, bytesBehind: number): number {
	// To go on over so many bytes is to multiply by x to the power of their bits, which is made of x^(2^i).
	let share = crc32;
	let power = X;
	for (let left = bytesBehind * 8; left > 0; left = Math.floor(left / 2)) {
		if (left % 2 === 1) share = multiply(share, power);
		power = multiply(power, power);
	}
	return share >>> 0;
}

/** The product of two polynomials, modulo that of the CRC. */
function multiply(a: number, b: number): number {
	let product = 0;
	let shifted = b;
	for (let bit = ONE; bit > 0; bit = bit >>> 1) {
		if ((a & bit) !== 0) product ^= shifted;
		shifted = (shifted >>> 1) ^ ((shifted & 1) !== 0 ? POLYNOMIAL : 0);
	}
	return product;
}
