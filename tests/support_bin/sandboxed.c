/* SPDX-License-Identifier: Apache-2.0
 *
 * What a decoder that was taken over would try: enters the product's sandbox (the same source
 * files) and then does one such thing, for tests/cli/test_sandbox.py.
 *
 *   sandboxed off|reads|bounded|rewrites|anything|ring|programs|inspects [+w PLACE] ACT [PATH]
 *
 * Prints "done", or the name of the errno. +w gives the right to write to PLACE.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sandbox.h"

static pid_t parent; /* another process */

/* Each returns 0, or -1 with errno. */
static int by_fd(int fd)
{
    return fd < 0 ? -1 : close(fd);
}

static int do_read(const char *path)
{
    return by_fd(open(path, O_RDONLY));
}

static int do_write(const char *path)
{
    return by_fd(open(path, O_WRONLY));
}

static int do_make(const char *path)
{
    return by_fd(open(path, O_WRONLY | O_CREAT | O_EXCL, 0600));
}

static int do_rename(const char *path)
{
    char to[4096];
    snprintf(to, sizeof(to), "%s.renamed", path);
    return rename(path, to);
}

static int do_chmod(const char *path)
{
    return chmod(path, 0777);
}

static int do_exec(const char *path)
{
    (void)path;
    const int rc = execl("/bin/echo", "echo", "done", NULL);
    return rc;
}

static int do_exec_memory(const char *path)
{
    char *const argv[] = { (char *)"true", NULL };
    char bytes[65536];
    ssize_t len;
    (void)path;
    const int from = open("/bin/true", O_RDONLY), to = (int)syscall(SYS_memfd_create, "x", 0);
    if (to < 0)
        return -1;
    while ((len = read(from, bytes, sizeof(bytes))) > 0)
        if (write(to, bytes, (size_t)len) != len)
            return -1;
    const pid_t child = vfork();
    if (child < 0)
        return -1;
    if (child == 0) {
        syscall(SYS_execveat, to, "", argv, environ, AT_EMPTY_PATH);
        _exit(errno == EPERM);
    }
    int status;
    waitpid(child, &status, 0);
    errno = EPERM;
    return status == 0 ? 0 : -1;
}

static int do_fork(const char *path)
{
    (void)path;
    const pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
    if (child == 0)
        _exit(0);
    return child < 0 ? -1 : 0;
}

static int do_tcp(const char *path)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
    (void)path;
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int rc = connect(fd, (struct sockaddr *)&to, sizeof(to));
    return rc < 0 && errno == ECONNREFUSED ? 0 : rc; /* it went out */
}

static int do_udp(const char *path)
{
    (void)path;
    return by_fd(socket(AF_INET, SOCK_DGRAM, 0));
}

static int do_unix(const char *path)
{
    int ends[2];
    (void)path;
    return socketpair(AF_UNIX, SOCK_STREAM, 0, ends);
}

static int do_ptrace(const char *path)
{
    (void)path;
    return ptrace(PTRACE_TRACEME, 0, NULL, NULL) < 0 ? -1 : 0;
}

static int do_signal(const char *path)
{
    (void)path;
    return kill(parent, 0);
}

static int
do_signal_by_file(const char *path) /* the kernel sends it when there is something to read */
{
    int ends[2];
    (void)path;
    return pipe(ends) < 0 ? -1 : fcntl(ends[0], F_SETOWN, parent);
}

static int do_limit(const char *path)
{
    struct rlimit limit;
    (void)path;
    return prlimit(parent, RLIMIT_CORE, NULL, &limit);
}

static int do_attributes(const char *path) /* such as "immutable" */
{
    int flags = 0;
    const int fd = open(path, O_RDONLY), rc = ioctl(fd, FS_IOC_GETFLAGS, &flags);
    const bool has_none = rc < 0 && (errno == ENOTTY || errno == EOPNOTSUPP);
    close(fd);
    return has_none ? 0 : rc;
}

static int do_type(const char *path)
{
    (void)path;
    const int rc = ioctl(STDIN_FILENO, TIOCSTI, "x");
    return rc < 0 && errno == ENOTTY ? 0 : rc; /* it was asked of what is no terminal */
}

static int do_ring(const char *path)
{
    char params[120] = { 0 };
    (void)path;
    return by_fd((int)syscall(SYS_io_uring_setup, 4, params));
}

static int do_foreign(const char *path) /* a call of another generation: x32's getpid */
{
    (void)path;
    return syscall(0x40000000 | SYS_getpid) < 0 ? -1 : 0;
}

static int do_clone3(const char *path) /* what is not seen through must look absent */
{
    (void)path;
    return syscall(SYS_clone3, NULL, 0) < 0 && errno == EINVAL ? 0 : -1;
}

static void *write_there(void *path)
{
    return do_write(path) < 0 ? (void *)(intptr_t)errno : NULL;
}

static int do_write_in_thread(const char *path)
{
    pthread_t thread;
    void *failure;
    if ((errno = pthread_create(&thread, NULL, write_there, (void *)(uintptr_t)path)) != 0)
        return -1;
    pthread_join(thread, &failure);
    errno = (int)(intptr_t)failure;
    return failure ? -1 : 0;
}

static const struct {
    const char *name;
    int (*act)(const char *path);
} acts[] = {
    { "read", do_read },
    { "write", do_write },
    { "make", do_make },
    { "remove", unlink },
    { "rename", do_rename },
    { "chmod", do_chmod },
    { "exec", do_exec },
    { "exec-memory", do_exec_memory },
    { "fork", do_fork },
    { "tcp", do_tcp },
    { "udp", do_udp },
    { "unix", do_unix },
    { "ptrace", do_ptrace },
    { "signal", do_signal },
    { "signal-by-file", do_signal_by_file },
    { "limit", do_limit },
    { "attributes", do_attributes },
    { "type", do_type },
    { "ring", do_ring },
    { "foreign", do_foreign },
    { "clone3", do_clone3 },
    { "thread", do_write_in_thread },
};

static struct sandbox_plan plan_called(const char *name)
{
    const bool is_rewrites = !strcmp(name, "rewrites"), is_any = !strcmp(name, "anything");
    return (struct sandbox_plan){
        .files = is_any        ? SANDBOX_ANYTHING
                 : is_rewrites ? SANDBOX_REWRITES
                               : SANDBOX_READS,
        .bounded = !strcmp(name, "bounded"),
        .programs = !strcmp(name, "programs"),
        .io_uring = !strcmp(name, "ring"),
        .inspects = !strcmp(name, "inspects"),
    };
}

int main(int argc, char **argv)
{
    struct sandbox_place place = { .right = SANDBOX_MAKE };
    if (argc < 3)
        return 2;
    struct sandbox_plan plan = plan_called(argv[1]);
    char **rest = argv + 2;
    if (strcmp(*rest, "+w") == 0 && argc > 4) {
        place.path = rest[1];
        plan.places = &place;
        plan.place_count = 1;
        rest += 2;
    }
    parent = getppid();
    if (strcmp(argv[1], "off") != 0) {
        const struct sandbox_state state = sandbox_enter(&plan);
        if (strcmp(*rest, "state") == 0) {
            printf("%d %d\n", state.landlock, state.filter);
            return 0;
        }
    }
    for (size_t i = 0; i < sizeof(acts) / sizeof(acts[0]); i++) {
        if (strcmp(acts[i].name, *rest) != 0)
            continue;
        puts(acts[i].act(rest[1]) < 0 ? strerrorname_np(errno) : "done");
        return 0;
    }
    return 2;
}
