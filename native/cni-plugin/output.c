/* What leaves the program: one JSON document on stdout, and a bounded local log of failures. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "plugin.h"

#define LOG_BYTES_MAX (1024 * 1024)

static bool write_all(int fd, const char *text, size_t length)
{
	while (length > 0) {
		ssize_t written = write(fd, text, length);
		if (written < 0 && errno == EAGAIN) {
			struct pollfd output = { .fd = fd, .events = POLLOUT };
			if (poll(&output, 1, remaining_ms()) == 0)
				return false;
			continue;
		}
		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return false;
		text += written;
		length -= (size_t)written;
	}
	return true;
}

int print_json(json_t *document)
{
	char *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	bool ok = text && write_all(STDOUT_FILENO, text, strlen(text)) && write_all(STDOUT_FILENO, "\n", 1);

	free(text);
	json_decref(document);
	return ok ? 0 : 1;
}

int print_result(const struct config *config)
{
	json_t *result = config->prev_result ? json_incref(config->prev_result) : json_object();

	json_object_set_new(result, "cniVersion", json_string(config->version));
	return print_json(result);
}

/* A JSON string of text that may be no UTF-8, or cut within a character: other bytes than ASCII then become '?'. */
static json_t *printable(const char *text)
{
	json_t *string = json_string(text);
	char copy[1024];

	if (string)
		return string;
	snprintf(copy, sizeof(copy), "%s", text);
	for (char *byte = copy; *byte; byte++)
		if ((unsigned char)*byte >= 0x80)
			*byte = '?';
	return json_string(copy);
}

int print_failure(const char *version, const struct failure *failure)
{
	print_json(json_pack("{s:s, s:i, s:o, s:o}", "cniVersion", version, "code", (int)failure->code, "msg",
			     printable(failure->message), "details", printable(failure->details)));
	return 1;
}

static void timestamp(char *out, size_t size)
{
	time_t now = time(NULL);
	struct tm utc;

	strftime(out, size, "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
}

/* Opens the log for appending; a full one makes room by becoming istio-cni.log.1. -1 when it cannot be had. */
static int open_log(const char *run_dir)
{
	char path[4096], old[4096 + 2];
	struct stat status;
	const int flags = O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;

	if (snprintf(path, sizeof(path), "%s/istio-cni.log", run_dir) >= (int)sizeof(path))
		return -1;
	snprintf(old, sizeof(old), "%s.1", path);
	if (lstat(path, &status) == 0 && S_ISREG(status.st_mode) && status.st_size >= LOG_BYTES_MAX)
		rename(path, old);
	int fd = open(path, flags, 0600);
	if (fd >= 0 && (fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))) {
		close(fd);
		return -1;
	}
	return fd;
}

void log_failure(const char *run_dir, const struct call *call, const struct failure *failure)
{
	char time_text[32];
	int fd = open_log(run_dir);

	if (fd < 0)
		return;
	timestamp(time_text, sizeof(time_text));
	json_t *line = json_pack("{s:s, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:o}", "time", time_text, "level", "error", "msg",
				 "call failed", "code", (int)failure->code, "error", printable(failure->message), "details",
				 printable(failure->details), "podName", printable(call->pod_name), "podNamespace",
				 printable(call->pod_namespace), "containerId", printable(call->container_id));
	char *text = line ? json_dumps(line, JSON_COMPACT) : NULL;
	char *terminated = NULL;
	/* One write for line and newline: lines of calls that fail at the same time do not mix. */
	int length = text ? asprintf(&terminated, "%s\n", text) : -1;
	if (length > 0)
		write_all(fd, terminated, (size_t)length);
	free(terminated);
	free(text);
	json_decref(line);
	close(fd);
}
