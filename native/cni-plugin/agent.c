/* The request to the node agent: HTTP/1.1 over a unix socket, one request a connection. Every wait ends at the deadline
 * of the call; the answer is read up to 64 KiB and must be whole, or it does not count. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "plugin.h"

#define SOCKET_NAME "pluginevent.sock"
#define ANSWER_BYTES_MAX (64 * 1024)

struct answer {
	char bytes[ANSWER_BYTES_MAX + 1]; /* always ends with NUL */
	size_t length;
	int status;
	char *body;       /* NULL until the header is whole */
	size_t body_length;
};

enum progress { PROGRESS_MORE, PROGRESS_WHOLE, PROGRESS_BROKEN };

static bool wait_for(int fd, short events)
{
	struct pollfd entry = { .fd = fd, .events = events };

	for (;;) {
		int ready = poll(&entry, 1, remaining_ms());
		if (ready > 0)
			return true;
		if (ready == 0)
			errno = ETIMEDOUT;
		if (ready == 0 || errno != EINTR)
			return false;
	}
}

/* A connected socket, or -1 with errno. A full queue of the agent is waited for until the deadline. */
static int connect_agent(const char *run_dir)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int length = snprintf(address.sun_path, sizeof(address.sun_path), "%s/" SOCKET_NAME, run_dir);

	errno = ENAMETOOLONG;
	if (length < 0 || (size_t)length >= sizeof(address.sun_path))
		return -1;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		if (errno == EAGAIN && remaining_ms() > 0) {
			poll(NULL, 0, 10);
			continue;
		}
		int error = errno == EAGAIN ? ETIMEDOUT : errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

bool agent_listens(const struct config *config)
{
	int fd = connect_agent(config->run_dir);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

static bool send_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(fd, bytes, length, MSG_NOSIGNAL);
		if (sent > 0) {
			bytes += sent;
			length -= (size_t)sent;
		} else if (sent < 0 && errno == EAGAIN) {
			if (!wait_for(fd, POLLOUT))
				return false;
		} else if (sent < 0 && errno != EINTR) {
			return false;
		}
	}
	return true;
}

/* Value of a header field in the text between `header` and `end`; NULL when absent. */
static const char *header_value(const char *header, const char *end, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = strstr(header, "\r\n"); line && line < end; line = strstr(line, "\r\n")) {
		line += 2;
		if (strncasecmp(line, name, length) == 0 && line[length] == ':')
			return line + length + 1 + strspn(line + length + 1, " \t");
	}
	return NULL;
}

/* Joins the chunks of a chunked body in place once the last one has arrived. */
static enum progress join_chunks(struct answer *answer, size_t available)
{
	char *in = answer->body, *stop = answer->body + available, *out = answer->body;

	for (;;) {
		char *end, *line = memmem(in, (size_t)(stop - in), "\r\n", 2);
		if (!line)
			return PROGRESS_MORE;
		if (!strchr("0123456789abcdefABCDEF", *in))
			return PROGRESS_BROKEN;
		unsigned long size = strtoul(in, &end, 16);
		if ((*end != '\r' && *end != ';') || size > ANSWER_BYTES_MAX)
			return PROGRESS_BROKEN;
		in = line + 2;
		if (size == 0) {
			/* An empty line ends the trailers, also when there are none. */
			if (!memmem(line, (size_t)(stop - line), "\r\n\r\n", 4))
				return PROGRESS_MORE;
			break;
		}
		if ((size_t)(stop - in) < size + 2)
			return PROGRESS_MORE;
		in += size + 2;
	}
	/* A second pass, now that all is there: joining earlier would spoil the bytes for the next attempt. */
	in = answer->body;
	for (unsigned long size = strtoul(in, NULL, 16); size > 0; size = strtoul(in, NULL, 16)) {
		in = (char *)memmem(in, (size_t)(stop - in), "\r\n", 2) + 2;
		memmove(out, in, size);
		out += size;
		in += size + 2;
	}
	answer->body_length = (size_t)(out - answer->body);
	return PROGRESS_WHOLE;
}

/* Looks at what has arrived. `ended`: the agent has closed its side. */
static enum progress examine(struct answer *answer, bool ended)
{
	char *end = strstr(answer->bytes, "\r\n\r\n");
	int consumed = 0;

	if (!end)
		return ended ? PROGRESS_BROKEN : PROGRESS_MORE;
	if (sscanf(answer->bytes, "HTTP/1.%*1[01] %3d%n", &answer->status, &consumed) != 1 || consumed != 12 ||
	    answer->status < 100 || !strchr(" \r", answer->bytes[consumed]))
		return PROGRESS_BROKEN;
	answer->body = end + 4;
	size_t available = answer->length - (size_t)(answer->body - answer->bytes);
	const char *coding = header_value(answer->bytes, end, "Transfer-Encoding");
	const char *declared = header_value(answer->bytes, end, "Content-Length");
	enum progress progress = PROGRESS_WHOLE;

	if (coding && strncasecmp(coding, "chunked", 7) != 0)
		return PROGRESS_BROKEN;
	if (coding) {
		progress = join_chunks(answer, available);
	} else if (declared) {
		char *rest;
		unsigned long length = strtoul(declared, &rest, 10);
		if (rest == declared || *rest != '\r' || length > ANSWER_BYTES_MAX)
			return PROGRESS_BROKEN;
		answer->body_length = length;
		progress = available >= length ? PROGRESS_WHOLE : PROGRESS_MORE;
	} else {
		answer->body_length = available;
		return ended ? PROGRESS_WHOLE : PROGRESS_MORE;
	}
	return progress == PROGRESS_MORE && ended ? PROGRESS_BROKEN : progress;
}

static bool receive(int fd, struct answer *answer, struct failure *failure)
{
	for (;;) {
		if (!wait_for(fd, POLLIN))
			return fail(failure, CODE_TRY_AGAIN, "the node agent did not answer in time", strerror(errno));
		ssize_t bytes = recv(fd, answer->bytes + answer->length, ANSWER_BYTES_MAX - answer->length, 0);
		if (bytes < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (bytes < 0)
			return fail(failure, CODE_IO, "the answer of the node agent cannot be read", strerror(errno));
		answer->length += (size_t)bytes;
		answer->bytes[answer->length] = '\0';
		enum progress progress = examine(answer, bytes == 0);
		if (progress == PROGRESS_WHOLE)
			return true;
		if (progress == PROGRESS_BROKEN)
			return fail(failure, CODE_IO, "the answer of the node agent is not whole", "");
		if (answer->length == ANSWER_BYTES_MAX)
			return fail(failure, CODE_IO, "the answer of the node agent is too large", "");
	}
}

static char *request_text(const struct call *call, const struct config *config, size_t *length, struct failure *failure)
{
	char *text = NULL;
	json_t *ips = result_ips(config, failure);

	if (!ips)
		return NULL;
	json_t *body = json_pack("{s:s, s:s, s:s, s:o}", "Netns", call->netns, "PodName", call->pod_name,
				 "PodNamespace", call->pod_namespace, "IPs", ips);
	char *json = body ? json_dumps(body, JSON_COMPACT) : NULL;
	if (!json) {
		fail(failure, CODE_INVALID_ENVIRONMENT, "CNI_NETNS or CNI_ARGS is not valid UTF-8", "");
		return NULL;
	}
	int written = asprintf(&text,
			       "POST /cmdadd HTTP/1.1\r\nHost: istio-cni\r\nContent-Type: application/json\r\n"
			       "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
			       strlen(json), json);
	free(json);
	json_decref(body);
	if (written < 0) {
		fail(failure, CODE_IO, "out of memory", "");
		return NULL;
	}
	*length = (size_t)written;
	return text;
}

/* Sends and receives on a connected socket. */
static bool exchange(int fd, const char *request, size_t length, struct failure *failure)
{
	static struct answer answer;

	if (!send_all(fd, request, length))
		return fail(failure, errno == ETIMEDOUT ? CODE_TRY_AGAIN : CODE_IO, "the node agent did not take the request",
			    strerror(errno));
	if (!receive(fd, &answer, failure))
		return false;
	if (answer.status == 200)
		return true;
	char message[64];
	snprintf(message, sizeof(message), "the node agent refused the pod with status %d", answer.status);
	answer.body[answer.body_length] = '\0';
	return fail(failure, CODE_REFUSED_BY_AGENT, message, answer.body);
}

bool agent_add(const struct call *call, const struct config *config, struct failure *failure)
{
	size_t length = 0;
	char *request = request_text(call, config, &length, failure);

	if (!request)
		return false;
	int fd = connect_agent(config->run_dir);
	if (fd < 0) {
		int error = errno;
		char details[512];
		free(request);
		snprintf(details, sizeof(details), "%s/" SOCKET_NAME ": %s", config->run_dir, strerror(error));
		return fail(failure, error == ENAMETOOLONG ? CODE_INVALID_CONFIG : CODE_TRY_AGAIN,
			    "the node agent cannot be reached; pods wait until it runs", details);
	}
	bool ok = exchange(fd, request, length, failure);
	close(fd);
	free(request);
	return ok;
}
