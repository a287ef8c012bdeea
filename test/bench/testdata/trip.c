/* Sends one request again and again over one connection and prints how long
 * each answer took, in nanoseconds, a line each. An answer is complete when it
 * is as long as its Content-Length says, or as the request if it has none.
 * Usage: trip SOCKET COUNT < request */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* How long an answer is in all, 0 = its head is not complete. */
static size_t whole(const char *answer, size_t request)
{
	const char *end, *length;

	if (strncmp(answer, "HTTP/", 5) != 0)
		return request;
	end = strstr(answer, "\r\n\r\n");
	length = strstr(answer, "\r\nContent-Length: ");
	if (!end || !length)
		return 0;
	return end + 4 - answer + atol(length + 18);
}

int main(int argc, char **argv)
{
	static char request[4096], answer[65536];
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	size_t size = fread(request, 1, sizeof request, stdin);
	int c = socket(AF_UNIX, SOCK_STREAM, 0);
	long i, count, *took;

	if (argc != 3 || c < 0 || strlen(argv[1]) >= sizeof addr.sun_path)
		return 2;
	count = atol(argv[2]);
	took = calloc(count, sizeof *took);
	strcpy(addr.sun_path, argv[1]);
	if (!took || connect(c, (struct sockaddr *)&addr, sizeof addr) < 0) {
		perror(argv[1]);
		return 1;
	}
	for (i = 0; i < count; i++) {
		long start = now();
		size_t got = 0, want = 0;

		if (write(c, request, size) != (ssize_t)size)
			return 1;
		while (want == 0 || got < want) {
			ssize_t n = read(c, answer + got, sizeof answer - 1 - got);

			if (n <= 0)
				return 1;
			got += n;
			answer[got] = 0;
			want = whole(answer, size);
		}
		took[i] = now() - start;
		if (strncmp(answer, "HTTP/1.1 2", 10) != 0 && strncmp(answer, "HTTP/", 5) == 0) {
			fprintf(stderr, "%s\n", answer);
			return 1;
		}
	}
	for (i = 0; i < count; i++)
		printf("%ld\n", took[i]);
	return 0;
}
