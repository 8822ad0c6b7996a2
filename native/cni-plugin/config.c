/* The network configuration on stdin: at most 1 MiB of JSON, checked before anything is done.
 * Source: CNI specification 1.1.0, section "Network configuration format". */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "plugin.h"

#define INPUT_BYTES_MAX (1024 * 1024)

/* Oldest first. */
static const char *const versions[] = { "0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0" };
#define VERSIONS (sizeof(versions) / sizeof(versions[0]))
enum { SINCE_CHECK = 4, SINCE_GC = 6 };

int version_index(const char *version)
{
	for (size_t i = 0; i < VERSIONS; i++)
		if (strcmp(versions[i], version) == 0)
			return (int)i;
	return -1;
}

json_t *known_versions(void)
{
	json_t *list = json_array();

	for (size_t i = 0; i < VERSIONS; i++)
		json_array_append_new(list, json_string(versions[i]));
	return list;
}

bool read_stdin(char **text, size_t *length, struct failure *failure)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };

	*length = 0;
	*text = malloc(INPUT_BYTES_MAX + 1);
	if (!*text)
		return fail(failure, CODE_IO, "out of memory", "");
	for (;;) {
		int ready = poll(&input, 1, remaining_ms());
		if (ready < 0 && errno == EINTR)
			continue;
		if (ready <= 0)
			return fail(failure, CODE_IO, "the network configuration did not arrive in time", "");
		ssize_t bytes = read(STDIN_FILENO, *text + *length, INPUT_BYTES_MAX + 1 - *length);
		if (bytes < 0 && errno == EINTR)
			continue;
		if (bytes < 0)
			return fail(failure, CODE_IO, "the network configuration cannot be read", strerror(errno));
		*length += (size_t)bytes;
		if (*length > INPUT_BYTES_MAX)
			return fail(failure, CODE_DECODE, "the network configuration is larger than 1 MiB", "");
		if (bytes == 0)
			return true;
	}
}

/* [a-zA-Z0-9][a-zA-Z0-9_.-]* */
static bool is_network_name(const char *name)
{
	if (!isalnum((unsigned char)name[0]))
		return false;
	for (; *name; name++)
		if (!isalnum((unsigned char)*name) && !strchr("_.-", *name))
			return false;
	return true;
}

static bool check_version(json_t *root, enum verb verb, struct config *config, struct failure *failure)
{
	json_t *declared = json_object_get(root, "cniVersion");
	const char *version = declared ? json_string_value(declared) : versions[0];

	if (!version)
		return fail(failure, CODE_INVALID_CONFIG, "cniVersion is not a string", "");
	int index = version_index(*version ? version : versions[0]);
	if (index < 0)
		return fail(failure, CODE_INCOMPATIBLE_VERSION, "incompatible CNI versions", version);
	config->version = versions[index];
	if (verb == VERB_CHECK && index < SINCE_CHECK)
		return fail(failure, CODE_INCOMPATIBLE_VERSION, "config version does not allow CHECK", version);
	if ((verb == VERB_GC || verb == VERB_STATUS) && index < SINCE_GC)
		return fail(failure, CODE_INCOMPATIBLE_VERSION, "config version does not allow GC and STATUS", version);
	return true;
}

/* Text of a key, `fallback` when it is absent or null; NULL with a failure when it is something else. */
static const char *text_key(json_t *root, const char *key, const char *fallback, struct failure *failure)
{
	json_t *value = json_object_get(root, key);

	if (!value || json_is_null(value))
		return fallback;
	if (!json_is_string(value)) {
		fail(failure, CODE_INVALID_CONFIG, "a key of the network configuration is not a string", key);
		return NULL;
	}
	return json_string_value(value);
}

static bool check_excluded(struct config *config, struct failure *failure)
{
	size_t index;
	json_t *name, *list = json_object_get(config->root, "exclude_namespaces");

	if (!list || json_is_null(list))
		return true;
	if (!json_is_array(list))
		return fail(failure, CODE_INVALID_CONFIG, "exclude_namespaces is not a list", "");
	json_array_foreach(list, index, name)
		if (!json_is_string(name))
			return fail(failure, CODE_INVALID_CONFIG, "exclude_namespaces has an entry that is not a string", "");
	config->exclude_namespaces = list;
	return true;
}

bool parse_config(const char *text, size_t length, enum verb verb, struct config *config, struct failure *failure)
{
	json_error_t error;
	json_t *root = json_loadb(text, length, 0, &error);

	if (!root)
		return fail(failure, CODE_DECODE, "the network configuration is not JSON", error.text);
	if (!json_is_object(root))
		return fail(failure, CODE_DECODE, "the network configuration is not an object", "");
	config->root = root;
	const char *run_dir = text_key(root, "cni_agent_run_dir", DEFAULT_RUN_DIR, failure);
	if (!run_dir)
		return false;
	config->run_dir = *run_dir ? run_dir : DEFAULT_RUN_DIR;
	if (!check_version(root, verb, config, failure))
		return false;
	const char *name = text_key(root, "name", "", failure);
	if (!name || !is_network_name(name))
		return name ? fail(failure, CODE_INVALID_CONFIG, "the network name is missing or invalid", name) : false;
	config->pod_namespace = text_key(root, "pod_namespace", "", failure);
	if (!config->pod_namespace)
		return false;
	config->enabled = !json_is_false(json_object_get(root, "ambient_enabled"));
	json_t *prev = json_object_get(root, "prevResult");
	config->prev_result = json_is_null(prev) ? NULL : prev;
	if (config->prev_result && !json_is_object(config->prev_result))
		return fail(failure, CODE_INVALID_CONFIG, "prevResult is not an object", "");
	return check_excluded(config, failure);
}
