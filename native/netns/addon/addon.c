/* Module entry and the conversions every other file uses. JavaScript thread only. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "addon.h"

void throw_last_error(napi_env env)
{
	const napi_extended_error_info *info = NULL;
	bool pending = false;

	napi_get_last_error_info(env, &info);
	const char *message = info && info->error_message ? info->error_message : "Node-API call failed";
	napi_is_exception_pending(env, &pending);
	if (!pending)
		napi_throw_type_error(env, NULL, message);
}

bool get_args(napi_env env, napi_callback_info info, size_t count, napi_value *argv)
{
	size_t given = count;

	if (napi_get_cb_info(env, info, &given, argv, NULL, NULL) != napi_ok || given < count) {
		napi_throw_type_error(env, NULL, "too few arguments");
		return false;
	}
	return true;
}

napi_value number_value(napi_env env, int64_t number)
{
	napi_value value = NULL;

	napi_create_int64(env, number, &value);
	return value;
}

int64_t get_number(napi_env env, napi_value object, const char *name, int64_t fallback)
{
	napi_value value;
	int64_t number;

	if (napi_get_named_property(env, object, name, &value) != napi_ok)
		return fallback;
	return napi_get_value_int64(env, value, &number) == napi_ok ? number : fallback;
}

bool get_flag(napi_env env, napi_value object, const char *name)
{
	napi_value value;
	bool flag;

	if (napi_get_named_property(env, object, name, &value) != napi_ok)
		return false;
	return napi_get_value_bool(env, value, &flag) == napi_ok && flag;
}

void get_text(napi_env env, napi_value object, const char *name, char *out, size_t size)
{
	napi_value value;
	size_t length = 0;

	out[0] = '\0';
	if (napi_get_named_property(env, object, name, &value) != napi_ok)
		return;
	if (napi_get_value_string_utf8(env, value, NULL, 0, &length) != napi_ok || length >= size)
		return;
	napi_get_value_string_utf8(env, value, out, size, &length);
}

void address_text(const struct sockaddr_storage *address, char *ip, uint16_t *port)
{
	if (address->ss_family == AF_INET) {
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;
		inet_ntop(AF_INET, &v4->sin_addr, ip, INET6_ADDRSTRLEN);
		*port = ntohs(v4->sin_port);
		return;
	}
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;
	if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], ip, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &v6->sin6_addr, ip, INET6_ADDRSTRLEN);
	*port = ntohs(v6->sin6_port);
}

bool address_parse(const char *ip, uint16_t port, struct sockaddr_storage *out, socklen_t *length)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;

	memset(out, 0, sizeof(*out));
	if (inet_pton(AF_INET, ip, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*length = sizeof(*v4);
		return true;
	}
	if (inet_pton(AF_INET6, ip, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons(port);
		*length = sizeof(*v6);
		return true;
	}
	return false;
}

bool address_values(napi_env env, const struct sockaddr_storage *address, napi_value *ip, napi_value *port)
{
	char text[INET6_ADDRSTRLEN];
	uint16_t number;

	address_text(address, text, &number);
	return napi_create_string_latin1(env, text, NAPI_AUTO_LENGTH, ip) == napi_ok &&
	       napi_create_uint32(env, number, port) == napi_ok;
}

NAPI_MODULE_INIT()
{
	static napi_value (*const parts[])(napi_env, napi_value) = {
		register_netns, register_socket,    register_accept, register_option,
		register_poll,  register_seqpacket, register_route,  register_sysctl,
		register_diag,
	};

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (!parts[i](env, exports))
			return NULL;
	return exports;
}
