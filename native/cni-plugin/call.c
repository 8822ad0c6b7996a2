/* The environment of a call: which variables each verb needs and what they may contain.
 * Source: CNI specification 1.1.0, section "Parameters". */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plugin.h"

#define PATH_BYTES_MAX 4096
#define INTERFACE_BYTES_MAX 15

#define BIT(verb) (1u << (verb))
#define CONTAINER_VERBS (BIT(VERB_ADD) | BIT(VERB_DEL) | BIT(VERB_CHECK))

static const struct {
	const char *name;
	enum verb verb;
} verbs[] = {
	{ "ADD", VERB_ADD }, { "DEL", VERB_DEL },       { "CHECK", VERB_CHECK },
	{ "GC", VERB_GC },   { "STATUS", VERB_STATUS }, { "VERSION", VERB_VERSION },
};

static const struct {
	const char *name;
	unsigned required_by;
} variables[] = {
	{ "CNI_CONTAINERID", CONTAINER_VERBS },
	{ "CNI_NETNS", BIT(VERB_ADD) | BIT(VERB_CHECK) },
	{ "CNI_IFNAME", CONTAINER_VERBS },
	{ "CNI_PATH", CONTAINER_VERBS | BIT(VERB_GC) | BIT(VERB_STATUS) },
};

static const char *variable(const char *name)
{
	const char *value = getenv(name);

	return value ? value : "";
}

static bool find_verb(const char *name, enum verb *verb)
{
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (strcmp(verbs[i].name, name) != 0)
			continue;
		*verb = verbs[i].verb;
		return true;
	}
	return false;
}

static bool check_present(enum verb verb, struct failure *failure)
{
	char missing[128] = "";

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		if (!(variables[i].required_by & BIT(verb)) || variable(variables[i].name)[0] != '\0')
			continue;
		if (missing[0] != '\0')
			strcat(missing, ",");
		strcat(missing, variables[i].name);
	}
	return missing[0] == '\0' ||
	       fail(failure, CODE_INVALID_ENVIRONMENT, "required env variables are missing", missing);
}

/* [a-zA-Z0-9][a-zA-Z0-9_.-]* */
static bool is_container_id(const char *id)
{
	if (!isalnum((unsigned char)id[0]))
		return false;
	for (; *id; id++)
		if (!isalnum((unsigned char)*id) && !strchr("_.-", *id))
			return false;
	return true;
}

static bool is_interface(const char *name)
{
	if (strlen(name) > INTERFACE_BYTES_MAX || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return false;
	for (; *name; name++)
		if (*name == '/' || *name == ':' || isspace((unsigned char)*name))
			return false;
	return true;
}

/* Splits CNI_ARGS ("K=V;K=V"); keys that mean nothing here are passed over. */
static bool read_args(struct call *call, struct failure *failure)
{
	const char *args = variable("CNI_ARGS");
	char *rest = call->args;

	call->pod_name = call->pod_namespace = "";
	if (strlen(args) >= sizeof(call->args))
		return fail(failure, CODE_INVALID_ENVIRONMENT, "CNI_ARGS is too long", "");
	strcpy(call->args, args);
	for (char *pair = strsep(&rest, ";"); pair; pair = strsep(&rest, ";")) {
		char *value = strchr(pair, '=');
		if (*pair == '\0')
			continue;
		if (!value)
			return fail(failure, CODE_INVALID_ENVIRONMENT, "CNI_ARGS has a pair without a value", "");
		*value++ = '\0';
		if (strcmp(pair, "K8S_POD_NAME") == 0)
			call->pod_name = value;
		else if (strcmp(pair, "K8S_POD_NAMESPACE") == 0)
			call->pod_namespace = value;
	}
	return true;
}

bool read_call(struct call *call, struct failure *failure)
{
	const char *command = variable("CNI_COMMAND");
	const char *override = variable("CNI_NETNS_OVERRIDE");

	call->container_id = variable("CNI_CONTAINERID");
	call->netns = variable("CNI_NETNS");
	call->ifname = variable("CNI_IFNAME");
	call->pod_name = call->pod_namespace = "";
	call->netns_override = strcasecmp(override, "true") == 0 || strcmp(override, "1") == 0;
	if (command[0] == '\0')
		return fail(failure, CODE_INVALID_ENVIRONMENT, "required env variables are missing", "CNI_COMMAND");
	if (!find_verb(command, &call->verb))
		return fail(failure, CODE_INVALID_ENVIRONMENT, "CNI_COMMAND is not known", "");
	if (!check_present(call->verb, failure))
		return false;
	if (call->container_id[0] != '\0' && !is_container_id(call->container_id))
		return fail(failure, CODE_INVALID_ENVIRONMENT, "CNI_CONTAINERID has an invalid character", "");
	if (!is_interface(call->ifname))
		return fail(failure, CODE_INVALID_ENVIRONMENT, "CNI_IFNAME is not an interface name", "");
	if (strlen(call->netns) >= PATH_BYTES_MAX)
		return fail(failure, CODE_INVALID_ENVIRONMENT, "CNI_NETNS is too long", "");
	return call->verb == VERB_VERSION || read_args(call, failure);
}
