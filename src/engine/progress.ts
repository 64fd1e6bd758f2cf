/** Where a run stands, after each slice, and whenever more of it is safe. */
export interface Progress {
	/** of the shard that was just written to, from 0 */
	shardIndex: number;
	shardCount: number;
	shardFileName: string;
	shardWrittenBytes: number;
	shardBytes: number;
	/** of all shards, those of an earlier run too */
	writtenBytes: number;
	totalBytes: number;
	/** durable, and known to be: what another run would go on from */
	safeBytes: number;
}
