/** What of the WebAssembly interface is used here: Node has it, its types do not. */
declare namespace WebAssembly {
	class Memory {
		constructor(limits: { initial: number; maximum: number; shared: boolean });
		readonly buffer: SharedArrayBuffer;
	}
	class Module {
		constructor(bytes: Uint8Array);
	}
	class Instance {
		constructor(
			module: Module,
			imports: Record<string, Record<string, unknown>>,
		);
		readonly exports: Record<string, unknown>;
	}
}
