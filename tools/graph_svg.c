/* SPDX-License-Identifier: Apache-2.0
 *
 * The one place where another program is run: Graphviz's dot, with the graph coming by a pipe.
 */
#include <errno.h>
#include <fcntl.h>
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

/* 127: posix_spawn() may leave it to the child to find that there is no such program. */
static int wait_for(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return errno;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return ENOENT;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

int graph_svg_start(FILE *file, struct graph_svg *svg)
{
    int ends[2];
    if (fflush(file) != 0 || pipe2(ends, O_CLOEXEC) < 0)
        return errno;
    int rc = spawn_dot(ends[0], fileno(file), &svg->pid);
    close(ends[0]);
    svg->graph = rc == 0 ? fdopen(ends[1], "w") : NULL;
    if (!svg->graph)
        close(ends[1]);
    return rc == 0 && !svg->graph ? ENOMEM : rc;
}

int graph_svg_finish(struct graph_svg *svg, const struct qimg_graph *graph)
{
    if (graph)
        graph_print_dot(svg->graph, graph);
    const int rc = fclose(svg->graph) == 0 ? 0 : errno;
    const int waited = wait_for(svg->pid);
    return rc == 0 || rc == EPIPE ? waited : rc;
}
