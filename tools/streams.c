/* SPDX-License-Identifier: Apache-2.0
 *
 * Standard input, output and error. Each of the numbers 0 to 2 is taken for as long as the program
 * runs; what is printed and does not arrive is a failure, whenever that was noticed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "streams.h"

void streams_init(void)
{
    setvbuf(stderr, NULL, _IOLBF, 0);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* The lowest free number, hence this one; reading and writing a mere path is EBADF. */
        if (fcntl(fd, F_GETFD) < 0 && open("/", O_PATH | O_CLOEXEC) != fd)
            _exit(EXIT_FAILED);
    }
}

static bool reader_is_gone(void)
{
    struct pollfd out = { .fd = STDOUT_FILENO };
    return poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP));
}

int streams_close(const struct tool *tool, int code)
{
    bool lost = ferror(stdout); /* an earlier write, whose errno is forgotten */
    const bool unread = reader_is_gone();

    errno = 0;
    lost |= fclose(stdout) != 0;
    if (!lost || unread)
        return code;
    tool_fail(tool, "standard output: %s", errno ? strerror(errno) : "some of it is lost");
    return code ? code : EXIT_FAILED;
}
