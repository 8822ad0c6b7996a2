/* What the files of the plugin share. A function that can fail returns false and fills `struct failure`. */
#ifndef CULVERT_CNI_PLUGIN_H
#define CULVERT_CNI_PLUGIN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Error codes. Source: CNI specification 1.1.0, section "Error"; 100 and above are the plugin's own. */
enum code {
	CODE_INCOMPATIBLE_VERSION = 1,
	CODE_INVALID_ENVIRONMENT = 4,
	CODE_IO = 5,
	CODE_DECODE = 6,
	CODE_INVALID_CONFIG = 7,
	CODE_INVALID_NETNS = 8,
	CODE_TRY_AGAIN = 11,
	CODE_NOT_AVAILABLE = 50,
	CODE_REFUSED_BY_AGENT = 101,
};

struct failure {
	enum code code;
	char message[256];
	char details[1024];
};

#define NEWEST_VERSION "1.1.0"
#define DEFAULT_RUN_DIR "/var/run/istio-cni"

enum verb { VERB_ADD, VERB_DEL, VERB_CHECK, VERB_GC, VERB_STATUS, VERB_VERSION };

/* The CNI_* variables and the keys of CNI_ARGS; empty text when absent. Points into the environment or into `args`. */
struct call {
	enum verb verb;
	const char *container_id, *netns, *ifname;
	bool netns_override;
	const char *pod_name, *pod_namespace;
	char args[16 * 1024];
};

/* The network configuration on stdin. Borrowed from `root`. */
struct config {
	json_t *root, *prev_result; /* prev_result: NULL when there is none */
	const char *version;        /* one of the known ones */
	const char *run_dir, *pod_namespace;
	json_t *exclude_namespaces; /* NULL or an array of strings */
	bool enabled;
};

/* Milliseconds until the deadline of the whole call, 0 when it has passed. */
int remaining_ms(void);
void start_deadline(void);

bool fail(struct failure *failure, enum code code, const char *message, const char *details);

bool read_call(struct call *call, struct failure *failure);
bool read_stdin(char **text, size_t *length, struct failure *failure);
bool parse_config(const char *text, size_t length, enum verb verb, struct config *config, struct failure *failure);
/* Index of a CNI version among the known ones, oldest first; -1 when unknown. */
int version_index(const char *version);
/* JSON array of all known versions. */
json_t *known_versions(void);

/* The IPs of prevResult in the shape of the agent's request; NULL on failure. */
json_t *result_ips(const struct config *config, struct failure *failure);

/* Asks the agent to enrol the pod; true only when it answered 200. */
bool agent_add(const struct call *call, const struct config *config, struct failure *failure);
/* True when somebody listens on the agent's socket. */
bool agent_listens(const struct config *config);

/* Each prints one JSON document on stdout and returns the exit code. */
int print_json(json_t *document);
int print_result(const struct config *config);
int print_failure(const char *version, const struct failure *failure);
/* Best effort: one JSON line in <run dir>/istio-cni.log. */
void log_failure(const char *run_dir, const struct call *call, const struct failure *failure);

#endif
