/* The addresses of prevResult, in the shape of the agent's request: Go's net.IPNet as JSON, the mask in base64.
 * Results since 0.3.0 have a list `ips`; older ones have `ip4` and `ip6`. */
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

enum { SINCE_IPS_LIST = 2 };

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* `out` has room for 25 bytes; `size` is 4 or 16. */
static void base64(const unsigned char *bytes, size_t size, char *out)
{
	for (size_t i = 0; i < size; i += 3) {
		unsigned chunk = bytes[i] << 16 | (i + 1 < size ? bytes[i + 1] : 0) << 8 | (i + 2 < size ? bytes[i + 2] : 0);
		*out++ = alphabet[chunk >> 18];
		*out++ = alphabet[chunk >> 12 & 63];
		*out++ = i + 1 < size ? alphabet[chunk >> 6 & 63] : '=';
		*out++ = i + 2 < size ? alphabet[chunk & 63] : '=';
	}
	*out = '\0';
}

/* Writes canonical text of an IP; returns its length in bytes on the wire, 0 when it is none. */
static size_t canonical_ip(const char *text, char *out)
{
	unsigned char bytes[16];
	int family = strchr(text, ':') ? AF_INET6 : AF_INET;

	if (inet_pton(family, text, bytes) != 1 || !inet_ntop(family, bytes, out, INET6_ADDRSTRLEN))
		return 0;
	return family == AF_INET ? 4 : 16;
}

/* {"IP": ..., "Mask": ...} of "10.0.0.1/24"; NULL when it is not of that form. */
static json_t *address_json(const char *cidr)
{
	char ip[INET6_ADDRSTRLEN + 1] = "", canonical[INET6_ADDRSTRLEN], encoded[25], *end;
	unsigned char mask[16] = { 0 };
	const char *slash = cidr ? strchr(cidr, '/') : NULL;

	if (!slash || (size_t)(slash - cidr) >= sizeof(ip) || slash[1] < '0' || slash[1] > '9')
		return NULL;
	memcpy(ip, cidr, (size_t)(slash - cidr));
	size_t size = canonical_ip(ip, canonical);
	unsigned long bits = strtoul(slash + 1, &end, 10);
	if (size == 0 || *end != '\0' || bits > size * 8)
		return NULL;
	for (unsigned long i = 0; i < bits; i++)
		mask[i / 8] |= (unsigned char)(0x80 >> i % 8);
	base64(mask, size, encoded);
	return json_pack("{s:s, s:s}", "IP", canonical, "Mask", encoded);
}

/* Appends one entry; `address_key` is where its CIDR stands. */
static bool append_ip(json_t *list, json_t *entry, const char *address_key)
{
	char gateway[INET6_ADDRSTRLEN] = "";
	json_t *gateway_value = json_object_get(entry, "gateway");
	json_t *interface = json_object_get(entry, "interface");
	json_t *address = address_json(json_string_value(json_object_get(entry, address_key)));

	if (!address)
		return false;
	if (gateway_value && !json_is_null(gateway_value)) {
		const char *text = json_string_value(gateway_value);
		if (!text || (*text && canonical_ip(text, gateway) == 0))
			return false;
	}
	if (interface && !json_is_null(interface) && !json_is_integer(interface))
		return false;
	return json_array_append_new(list, json_pack("{s:O?, s:o, s:s}", "Interface",
						     json_is_integer(interface) ? interface : NULL, "Address", address,
						     "Gateway", gateway)) == 0;
}

static bool append_list(json_t *list, json_t *ips)
{
	size_t index;
	json_t *entry;

	if (ips && !json_is_null(ips) && !json_is_array(ips))
		return false;
	json_array_foreach(ips, index, entry)
		if (!append_ip(list, entry, "address"))
			return false;
	return true;
}

static bool append_old(json_t *list, json_t *result)
{
	static const char *const keys[] = { "ip4", "ip6" };

	for (int i = 0; i < 2; i++) {
		json_t *entry = json_object_get(result, keys[i]);
		if (entry && !json_is_null(entry) && !append_ip(list, entry, "ip"))
			return false;
	}
	return true;
}

json_t *result_ips(const struct config *config, struct failure *failure)
{
	json_t *list = json_array(), *result = config->prev_result;
	bool ok = version_index(config->version) < SINCE_IPS_LIST ? append_old(list, result)
								  : append_list(list, json_object_get(result, "ips"));

	if (ok)
		return list;
	fail(failure, CODE_INVALID_CONFIG, "prevResult has an address that is none", "");
	return NULL;
}
