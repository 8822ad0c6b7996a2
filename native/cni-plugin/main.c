/* istio-cni: the executable that the container runtime calls for every pod of the node.
 *
 * ADD asks the node agent over its unix socket to bring the pod into the mesh, and succeeds only when the agent says so,
 * within 5 seconds. The agent decides by the labels whether the pod belongs to the mesh and answers 200 for one that does
 * not; this program never talks to the API server. So it fails closed for every pod of a namespace that is not excluded:
 * while the agent is away no such pod starts, whether it belongs to the mesh or not, and the runtime tries again.
 * What must work without the agent is answered here: the agent's own pod (else a node could not recover after a reboot),
 * excluded namespaces (where the rest of the node's system pods live), calls without a pod's name, and DEL, CHECK, GC and
 * VERSION.
 *
 * Exactly one JSON document goes to stdout, or nothing for DEL, CHECK, GC and STATUS that succeed; exit code 0 or 1.
 * Source: CNI specification 1.1.0; istio-cni's request to its agent. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "plugin.h"

#define DEADLINE_MS 5000
#define AGENT_POD_PREFIX "istio-cni-node-"

static struct timespec deadline;

void start_deadline(void)
{
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += DEADLINE_MS / 1000;
}

int remaining_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	long long ms = (deadline.tv_sec - now.tv_sec) * 1000LL + (deadline.tv_nsec - now.tv_nsec) / 1000000;
	return ms > 0 ? (int)ms : 0;
}

bool fail(struct failure *failure, enum code code, const char *message, const char *details)
{
	failure->code = code;
	snprintf(failure->message, sizeof(failure->message), "%s", message);
	snprintf(failure->details, sizeof(failure->details), "%s", details);
	return false;
}

/* The runtime gave the namespace of the node: a mistake that would redirect the node's own traffic. */
static bool check_netns(const struct call *call, struct failure *failure)
{
	struct stat theirs, ours;

	if (call->netns_override || call->netns[0] == '\0' || stat(call->netns, &theirs) != 0 ||
	    stat("/proc/self/ns/net", &ours) != 0)
		return true;
	if (theirs.st_dev != ours.st_dev || theirs.st_ino != ours.st_ino)
		return true;
	return fail(failure, CODE_INVALID_NETNS, "plugin's netns and netns from CNI_NETNS should not be the same", "");
}

static bool is_excluded(const struct config *config, const char *name)
{
	size_t index;
	json_t *excluded;

	json_array_foreach(config->exclude_namespaces, index, excluded)
		if (strcmp(json_string_value(excluded), name) == 0)
			return true;
	return false;
}

/* True for what the agent has no say in. */
static bool passes(const struct call *call, const struct config *config)
{
	bool agents_own = strncmp(call->pod_name, AGENT_POD_PREFIX, strlen(AGENT_POD_PREFIX)) == 0 &&
			  config->pod_namespace[0] != '\0' &&
			  strcmp(call->pod_namespace, config->pod_namespace) == 0;

	return agents_own || !config->enabled || call->pod_name[0] == '\0' || call->pod_namespace[0] == '\0' ||
	       is_excluded(config, call->pod_namespace);
}

static bool run(const struct call *call, const struct config *config, struct failure *failure)
{
	switch (call->verb) {
	case VERB_ADD:
		return check_netns(call, failure) &&
		       (passes(call, config) || agent_add(call, config, failure));
	case VERB_DEL:
		return check_netns(call, failure);
	case VERB_STATUS:
		return agent_listens(config) ||
		       fail(failure, CODE_NOT_AVAILABLE, "the node agent does not listen on its socket", config->run_dir);
	default:
		return true;
	}
}

/* The version of the request is repeated when it is known, as the specification asks. */
static int print_versions(void)
{
	char *text = NULL;
	size_t length = 0;
	struct failure ignored;
	const char *version = NULL;

	json_t *request = read_stdin(&text, &length, &ignored) ? json_loadb(text, length, 0, NULL) : NULL;
	version = json_string_value(json_object_get(request, "cniVersion"));
	return print_json(json_pack("{s:s, s:o}", "cniVersion", version && version_index(version) >= 0 ? version : NEWEST_VERSION,
				    "supportedVersions", known_versions()));
}

int main(void)
{
	static struct call call;
	struct config config = { .version = NEWEST_VERSION, .run_dir = DEFAULT_RUN_DIR };
	struct failure failure = { 0 };
	char *text = NULL;
	size_t length = 0;

	signal(SIGPIPE, SIG_IGN);
	start_deadline();
	bool known = read_call(&call, &failure);
	if (known && call.verb == VERB_VERSION)
		return print_versions();
	if (known && read_stdin(&text, &length, &failure) &&
	    parse_config(text, length, call.verb, &config, &failure) && run(&call, &config, &failure))
		return call.verb == VERB_ADD ? print_result(&config) : 0;
	log_failure(config.run_dir, &call, &failure);
	return print_failure(config.version, &failure);
}
