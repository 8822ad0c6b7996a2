/* An application for tests, with the socket calls that Node does not offer. Prints one line.
 *   app tcp|mptcp|fastopen 4|6|mapped <ip> <port>     first line received, getpeername, getsockname
 *   app udp|udpbound 4|6|mapped <ip> <port>           answer and its sender, with an unconnected socket
 *   app bind tcp|udp 4|6 <port>                       "bound"
 * An error is printed as error=<name>. `mapped` is IPv4 on an IPv6 socket. `udpbound` binds to the address $BIND. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define IPPROTO_MPTCP_NUMBER 262

static int failed(void)
{
	printf("error=%s\n", strerrorname_np(errno));
	return 0;
}

static socklen_t address(struct sockaddr_storage *out, const char *form, const char *ip, int port)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	char text[64];

	memset(out, 0, sizeof(*out));
	if (strcmp(form, "4") == 0) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		inet_pton(AF_INET, ip, &v4->sin_addr);
		return sizeof(*v4);
	}
	snprintf(text, sizeof(text), "%s%s", strcmp(form, "mapped") == 0 ? "::ffff:" : "", ip);
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	inet_pton(AF_INET6, text, &v6->sin6_addr);
	return sizeof(*v6);
}

static void print_address(const char *name, struct sockaddr_storage *from)
{
	char ip[64];
	struct sockaddr_in *v4 = (struct sockaddr_in *)from;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)from;

	if (from->ss_family == AF_INET)
		printf(" %s=%s %d", name, inet_ntop(AF_INET, &v4->sin_addr, ip, sizeof(ip)), ntohs(v4->sin_port));
	else
		printf(" %s=%s %d", name, inet_ntop(AF_INET6, &v6->sin6_addr, ip, sizeof(ip)), ntohs(v6->sin6_port));
}

static int use_udp(int fd, struct sockaddr_storage *to, socklen_t length)
{
	struct sockaddr_storage from;
	socklen_t from_length = sizeof(from);
	char data[2048];

	if (sendto(fd, "question", 8, 0, (struct sockaddr *)to, length) < 0)
		return failed();
	ssize_t got = recvfrom(fd, data, sizeof(data), 0, (struct sockaddr *)&from, &from_length);
	if (got < 0)
		return failed();
	printf("answer=%.*s", (int)got, data);
	print_address("from", &from);
	printf("\n");
	return 0;
}

static int use_tcp(int fd, int fast_open, struct sockaddr_storage *to, socklen_t length)
{
	struct sockaddr_storage peer, self;
	socklen_t peer_length = sizeof(peer), self_length = sizeof(self);
	char line[2048];

	if (fast_open ? sendto(fd, "hi\n", 3, MSG_FASTOPEN, (struct sockaddr *)to, length) < 0
		      : connect(fd, (struct sockaddr *)to, length) < 0)
		return failed();
	ssize_t got = recv(fd, line, sizeof(line), 0);
	if (got < 0 || getpeername(fd, (struct sockaddr *)&peer, &peer_length) < 0 ||
	    getsockname(fd, (struct sockaddr *)&self, &self_length) < 0)
		return failed();
	printf("line=%.*s", (int)strcspn(line, "\n"), line);
	print_address("peer", &peer);
	print_address("self", &self);
	printf("\n");
	return 0;
}

static int use_bind(const char *protocol, const char *form, int port)
{
	struct sockaddr_storage any;
	socklen_t length = address(&any, form, strcmp(form, "4") == 0 ? "0.0.0.0" : "::", port);
	int fd = socket(any.ss_family, strcmp(protocol, "udp") == 0 ? SOCK_DGRAM : SOCK_STREAM, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
	if (fd < 0 || bind(fd, (struct sockaddr *)&any, length) < 0)
		return failed();
	puts("bound");
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_storage to, from;
	struct timeval limit = { .tv_sec = 3 };

	if (argc != 5)
		return 2;
	if (strcmp(argv[1], "bind") == 0)
		return use_bind(argv[2], argv[3], atoi(argv[4]));
	int is_udp = strncmp(argv[1], "udp", 3) == 0;
	socklen_t length = address(&to, argv[2], argv[3], atoi(argv[4]));
	int fd = socket(to.ss_family, is_udp ? SOCK_DGRAM : SOCK_STREAM,
			strcmp(argv[1], "mptcp") == 0 ? IPPROTO_MPTCP_NUMBER : 0);
	if (fd < 0)
		return failed();
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (strcmp(argv[1], "udpbound") == 0) {
		socklen_t from_length = address(&from, argv[2], getenv("BIND"), 0);
		if (bind(fd, (struct sockaddr *)&from, from_length) < 0)
			return failed();
	}
	return is_udp ? use_udp(fd, &to, length) : use_tcp(fd, strcmp(argv[1], "fastopen") == 0, &to, length);
}
