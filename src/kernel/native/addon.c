// The door between JavaScript and the arithmetic: everything that comes in is checked here.
#define _POSIX_C_SOURCE 200112L // for posix_fadvise
#include "crc32.h"
#include "floats.h"
#include "sha256.h"
#include "sums.h"
#include <fcntl.h>
#include <node_api.h>

// Raised whenever the functions or their arguments change; the loader refuses any other.
#define INTERFACE_VERSION 5

#define ARGUMENTS 10

typedef struct {
	uint8_t *data;
	size_t length;
} bytes;

static napi_value refuse(napi_env env, const char *message) {
	napi_throw_range_error(env, "ERR_KERNEL_ARGUMENTS", message);
	return NULL;
}

static bool get_bytes(napi_env env, napi_value value, napi_typedarray_type expected, bytes *found) {
	napi_typedarray_type type;
	bool is_typed_array = false;
	void *data = NULL;
	if (napi_is_typedarray(env, value, &is_typed_array) != napi_ok || !is_typed_array) return false;
	if (napi_get_typedarray_info(env, value, &type, &found->length, &data, NULL, NULL) != napi_ok) return false;
	found->data = data;
	return type == expected;
}

static bool get_int(napi_env env, napi_value value, int least, int most, int *found) {
	int32_t number;
	if (napi_get_value_int32(env, value, &number) != napi_ok) return false;
	*found = number;
	return number >= least && number <= most;
}

static bool overlap(bytes a, bytes b) {
	return a.length > 0 && b.length > 0 && a.data < b.data + b.length && b.data < a.data + a.length;
}

static bool append_name(napi_env env, napi_value names, uint32_t index, const char *text) {
	napi_value name;
	return napi_create_string_utf8(env, text, NAPI_AUTO_LENGTH, &name) == napi_ok &&
		   napi_set_element(env, names, index, name) == napi_ok;
}

static int level_count(void) {
	int count = 0;
	while (levels()[count]) count++;
	return count;
}

// add(level, baseType, deltaType, cast, outType, subtract, base, delta, out, counts): counts gets two numbers
static napi_value add(napi_env env, napi_callback_info info) {
	size_t given = ARGUMENTS;
	napi_value argument[ARGUMENTS];
	if (napi_get_cb_info(env, info, &given, argument, NULL, NULL) != napi_ok || given != ARGUMENTS)
		return refuse(env, "ten arguments are needed");
	int level_index;
	spec what;
	if (!get_int(env, argument[0], 0, level_count() - 1, &level_index)) return refuse(env, "no such level");
	if (!get_int(env, argument[1], 0, DTYPE_COUNT - 1, &what.base) || !get_int(env, argument[2], 0, DTYPE_COUNT - 1, &what.delta) ||
		!get_int(env, argument[3], NO_CAST, DTYPE_COUNT - 1, &what.cast) || !get_int(env, argument[4], 0, DTYPE_COUNT - 1, &what.out))
		return refuse(env, "no such dtype");
	bytes base, delta, out, count_to;
	int subtract;
	if (!get_int(env, argument[5], 0, 1, &subtract)) return refuse(env, "subtract must be 0 or 1");
	uint32_t sign = subtract ? SIGNS : 0;
	if (!get_bytes(env, argument[6], napi_uint8_array, &base) || !get_bytes(env, argument[7], napi_uint8_array, &delta) ||
		!get_bytes(env, argument[8], napi_uint8_array, &out))
		return refuse(env, "operands and result must be Uint8Arrays");
	if (!get_bytes(env, argument[9], napi_float64_array, &count_to) || count_to.length != 2)
		return refuse(env, "the counts need a Float64Array of two");
	size_t count = out.length / width_of(what.out);
	if (count * width_of(what.out) != out.length || count * width_of(what.base) != base.length || count * width_of(what.delta) != delta.length)
		return refuse(env, "operands and result must hold the same number of whole elements");
	if (overlap(out, base) || overlap(out, delta)) return refuse(env, "the result must not lie over an operand");
	counts total = add_arrays(levels()[level_index], what, sign, base.data, delta.data, out.data, count);
	memcpy(count_to.data, &total, sizeof total);
	return NULL;
}

// levels(): their names, the fastest first
static napi_value level_names(napi_env env, napi_callback_info info) {
	(void)info;
	napi_value names;
	if (napi_create_array(env, &names) != napi_ok) return NULL;
	for (uint32_t i = 0; levels()[i]; i++)
		if (!append_name(env, names, i, levels()[i]->name)) return NULL;
	return names;
}

static int crc32_way_count(void) {
	int count = 0;
	while (crc32_ways()[count]) count++;
	return count;
}

// crc32(way, before, bytes): the CRC-32 of what had the CRC-32 `before`, and these bytes
static napi_value crc32(napi_env env, napi_callback_info info) {
	size_t given = 3;
	napi_value argument[3], result;
	if (napi_get_cb_info(env, info, &given, argument, NULL, NULL) != napi_ok || given != 3)
		return refuse(env, "three arguments are needed");
	int way;
	if (!get_int(env, argument[0], 0, crc32_way_count() - 1, &way)) return refuse(env, "no such way");
	uint32_t before;
	bytes data;
	if (napi_get_value_uint32(env, argument[1], &before) != napi_ok) return refuse(env, "the CRC-32 before must be a number");
	if (!get_bytes(env, argument[2], napi_uint8_array, &data)) return refuse(env, "the bytes must be a Uint8Array");
	uint32_t found = crc32_ways()[way]->crc32(before, data.data, data.length);
	return napi_create_uint32(env, found, &result) == napi_ok ? result : NULL;
}

// crc32Ways(): their names, the fastest first
static napi_value crc32_way_names(napi_env env, napi_callback_info info) {
	(void)info;
	napi_value names;
	if (napi_create_array(env, &names) != napi_ok) return NULL;
	for (uint32_t i = 0; crc32_ways()[i]; i++)
		if (!append_name(env, names, i, crc32_ways()[i]->name)) return NULL;
	return names;
}

// Whether the processor has the instructions; the same in all threads.
static bool takes_sha256 = false;

// sha256Crc32(state, blocks, before): takes whole blocks into the state; gives the CRC-32 as crc32 does
static napi_value sha256(napi_env env, napi_callback_info info) {
	size_t given = 3;
	napi_value argument[3], result;
	if (napi_get_cb_info(env, info, &given, argument, NULL, NULL) != napi_ok || given != 3)
		return refuse(env, "three arguments are needed");
	if (!takes_sha256) return refuse(env, "this processor has no instructions for it");
	bytes words, blocks;
	if (!get_bytes(env, argument[0], napi_uint32_array, &words) || words.length != 8)
		return refuse(env, "the state must be a Uint32Array of eight");
	if (!get_bytes(env, argument[1], napi_uint8_array, &blocks) || blocks.length % 64 != 0)
		return refuse(env, "the blocks must be a Uint8Array of whole ones");
	uint32_t before;
	if (napi_get_value_uint32(env, argument[2], &before) != napi_ok) return refuse(env, "the CRC-32 before must be a number");
	uint32_t found = sha256_crc32((uint32_t *)words.data, blocks.data, blocks.length / 64, before);
	return napi_create_uint32(env, found, &result) == napi_ok ? result : NULL;
}

// hasSha256(): whether the processor has what sha256Crc32 needs
static napi_value tell_sha256(napi_env env, napi_callback_info info) {
	(void)info;
	napi_value result;
	return napi_get_boolean(env, takes_sha256, &result) == napi_ok ? result : NULL;
}

// dropPages(fd, fileOffset, byteLength): let the page cache be rid of the pages that lie in a stretch of a file
static napi_value drop_pages(napi_env env, napi_callback_info info) {
	size_t given = 3;
	napi_value argument[3];
	if (napi_get_cb_info(env, info, &given, argument, NULL, NULL) != napi_ok || given != 3)
		return refuse(env, "three arguments are needed");
	int fd;
	int64_t offset, length;
	if (!get_int(env, argument[0], 0, INT32_MAX, &fd)) return refuse(env, "no such file");
	if (napi_get_value_int64(env, argument[1], &offset) != napi_ok || napi_get_value_int64(env, argument[2], &length) != napi_ok ||
		offset < 0 || length <= 0)
		return refuse(env, "no such stretch");
#ifdef POSIX_FADV_DONTNEED
	posix_fadvise(fd, offset, length, POSIX_FADV_DONTNEED); // advice: where it is not taken, nothing is lost
#endif
	return NULL;
}

static bool export_function(napi_env env, napi_value exports, const char *name, napi_callback function) {
	napi_value value;
	return napi_create_function(env, name, NAPI_AUTO_LENGTH, function, NULL, &value) == napi_ok &&
		   napi_set_named_property(env, exports, name, value) == napi_ok;
}

NAPI_MODULE_INIT() {
	napi_value version;
	takes_sha256 = has_sha256();
	if (napi_create_int32(env, INTERFACE_VERSION, &version) != napi_ok ||
		napi_set_named_property(env, exports, "interfaceVersion", version) != napi_ok ||
		!export_function(env, exports, "add", add) || !export_function(env, exports, "levels", level_names) ||
		!export_function(env, exports, "crc32", crc32) || !export_function(env, exports, "crc32Ways", crc32_way_names) ||
		!export_function(env, exports, "sha256Crc32", sha256) || !export_function(env, exports, "hasSha256", tell_sha256) ||
		!export_function(env, exports, "dropPages", drop_pages))
		return NULL;
	return exports;
}
