/**
 * Exclusive or of bytes, at any alignment: four at a time where all three arrays are aligned alike.
 *
 * @throws {RangeError} unless all have one length
 */
export function xorBytes(
	base: Uint8Array,
	delta: Uint8Array,
	out: Uint8Array,
): void {
	if (base.length !== out.length || delta.length !== out.length)
		throw new RangeError(
			`operands of ${base.length} and ${delta.length} bytes, result of ${out.length}`,
		);
	const aligned = [base, delta, out].every((b) => b.byteOffset % 4 === 0);
	const words = aligned ? Math.floor(out.length / 4) : 0;
	const [a, b, c] = [base, delta, out].map(
		({ buffer, byteOffset }) =>
			new Uint32Array(buffer, aligned ? byteOffset : 0, words),
	) as [Uint32Array, Uint32Array, Uint32Array];
	for (let i = 0; i < words; i++) c[i] = (a[i] as number) ^ (b[i] as number);
	for (let i = words * 4; i < out.length; i++)
		out[i] = (base[i] as number) ^ (delta[i] as number);
}
