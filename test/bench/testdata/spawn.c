/* Runs a program so often, one after the other: the floor of whatever starts
 * programs. It prints when it began each, the monotonic clock in nanoseconds, a
 * line each. Usage: spawn COUNT PROGRAM [ARGUMENT...] */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static long now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

int main(int argc, char **argv)
{
	posix_spawn_file_actions_t quiet;
	long i, count, *began;

	if (argc < 3)
		return 2;
	count = atol(argv[1]);
	began = calloc(count, sizeof *began);
	posix_spawn_file_actions_init(&quiet);
	posix_spawn_file_actions_addopen(&quiet, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	for (i = 0; began && i < count; i++) {
		int status;
		pid_t pid;

		began[i] = now();
		if (posix_spawn(&pid, argv[2], &quiet, NULL, argv + 2, environ) != 0 || waitpid(pid, &status, 0) != pid || status != 0) {
			perror(argv[2]);
			return 1;
		}
	}
	for (i = 0; i < count; i++)
		printf("%ld\n", began[i]);
	return 0;
}
