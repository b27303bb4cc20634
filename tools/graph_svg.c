/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place where another program is run: Graphviz's dot, on a graph in a temporary file that
 * has no name.
 */
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "graph_print.h"

/* dot, reading @from and writing to @to. 0 or an errno. */
static int spawn_dot(int from, int to, pid_t *pid)
{
    char program[] = "dot", option[] = "-Tsvg";
    char *const argv[] = { program, option, NULL };
    posix_spawn_file_actions_t actions;
    int rc = posix_spawn_file_actions_init(&actions);
    if (rc != 0)
        return rc;
    rc = posix_spawn_file_actions_adddup2(&actions, from, STDIN_FILENO);
    if (rc == 0 && to != STDOUT_FILENO)
        rc = posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawnp(pid, program, &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return rc;
}

static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

int graph_print_svg(FILE *file, const struct qimg_graph *graph)
{
    FILE *dot = tmpfile();
    pid_t pid;
    if (!dot)
        return errno;
    graph_print_dot(dot, graph);
    int rc =
        fflush(dot) == 0 && fflush(file) == 0 && lseek(fileno(dot), 0, SEEK_SET) == 0 ? 0 : errno;
    if (rc == 0)
        rc = spawn_dot(fileno(dot), fileno(file), &pid);
    (void)fclose(dot);
    return rc == 0 ? wait_for(pid) : rc;
}
