/* SPDX-License-Identifier: Apache-2.0
 *
 * Chains are fixtures: this file writes their specification, the library builds them.
 */
#include "bench_chain.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "job.h"
#include "qimg/fixture.h"

#define OPEN_AT_ONCE 8 /* directories, while they are taken away */

/* --- the directory --------------------------------------------------------------------------- */

int bench_scratch_make(const struct tool *tool, const char *where, char **out)
{
    const char *told = where ? where : getenv("TMPDIR");
    const char *below = told && *told ? told : "/var/tmp";
    char *name;
    if (asprintf(&name, "%s/qimg-bench-XXXXXX", below) < 0)
        return tool_fail(tool, "out of memory");
    if (!mkdtemp(name)) {
        free(name);
        return tool_fail(tool, "Could not make a directory for the chains below '%s': %s", below,
                         strerror(errno));
    }
    *out = name;
    return EXIT_DONE;
}

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *place)
{
    (void)st, (void)kind, (void)place;
    return remove(path) < 0 ? errno : 0;
}

void bench_scratch_remove(const struct tool *tool, char *scratch)
{
    if (!scratch)
        return;
    const int rc = nftw(scratch, remove_entry, OPEN_AT_ONCE, FTW_DEPTH | FTW_PHYS);
    if (rc != 0)
        tool_warn(tool, "'%s' could not be taken away: %s", scratch, strerror(rc < 0 ? errno : rc));
    free(scratch);
}

/* --- the specification ------------------------------------------------------------------------ */

/* The clusters of image @index: each depth-th one. */
static void put_content(FILE *to, const struct bench_chain *chain, uint64_t index)
{
    const uint64_t clusters = chain->size / BENCH_CHAIN_CLUSTER;
    if (index >= clusters)
        return;
    fprintf(to,
            ", \"content\": [{\"at\": %" PRIu64 ", \"length\": %" PRIu64 ", \"repeat\": %" PRIu64
            ", \"stride\": %" PRIu64 ", \"pattern\": \"random\", \"seed\": 1}]",
            index * BENCH_CHAIN_CLUSTER, BENCH_CHAIN_CLUSTER,
            (clusters - index + chain->depth - 1) / chain->depth,
            chain->depth * BENCH_CHAIN_CLUSTER);
}

static void put_image(FILE *to, const struct bench_chain *chain, unsigned index)
{
    fprintf(to, "%s\n{\"file\": \"image-%u.qcow2\", \"size\": %" PRIu64, index ? "," : "", index,
            chain->size);
    if (index > 0)
        fprintf(to, ", \"backing\": \"image-%u.qcow2\"", index - 1);
    if (chain->top_alone && index < chain->depth - 1)
        fputs(", \"absent\": true", to);
    put_content(to, chain, index);
    putc('}', to);
}

static char *make_spec(const struct bench_chain *chain, size_t *len)
{
    char *text = NULL;
    FILE *to = open_memstream(&text, len);
    if (!to)
        return NULL;
    fputs("{\"fixture\": 1, \"name\": \"bench\", \"guests\": \"tops\", \"images\": [", to);
    for (unsigned i = 0; i < chain->depth; i++)
        put_image(to, chain, i);
    fputs("]}\n", to);
    if (fclose(to) == 0)
        return text;
    free(text);
    return NULL;
}

/* --- building --------------------------------------------------------------------------------- */

static int stop(void *user, uint64_t done, uint64_t total)
{
    (void)user, (void)done, (void)total;
    return job_stopped();
}

static int build(struct tool *tool, const struct qimg_fixture *fixture, const char *dir)
{
    struct qimg_context *context;
    struct qimg_fixture_result result;
    struct qimg_error err;
    const struct qimg_fixture_build_options options = { .dir = dir,
                                                        .force = true,
                                                        .progress = stop };
    qimg_error_clear(&err);
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    int code = EXIT_DONE;
    if (qimg_fixture_build(context, fixture, &options, &result, &err) < 0)
        code = job_stopped() ? EXIT_FAILED : tool_fail_error(tool, "", &err);
    qimg_context_free(context);
    return code;
}

static char *directory_of(const char *scratch, unsigned depth)
{
    char *dir;
    return asprintf(&dir, "%s/depth-%u", scratch, depth) < 0 ? NULL : dir;
}

int bench_chain_build(struct tool *tool, const char *scratch, const struct bench_chain *chain)
{
    struct qimg_fixture *fixture = NULL;
    struct qimg_error err;
    size_t len = 0;
    char *spec = make_spec(chain, &len), *dir = directory_of(scratch, chain->depth);
    int code;
    qimg_error_clear(&err);
    if (!spec || !dir)
        code = tool_fail(tool, "out of memory");
    else if (qimg_fixture_parse(spec, len, NULL, &fixture, &err) < 0)
        code = tool_fail_error(tool, "", &err);
    else
        code = build(tool, fixture, dir);
    qimg_fixture_free(fixture);
    free(dir);
    free(spec);
    return code;
}

char *bench_chain_top(const char *scratch, unsigned depth)
{
    char *name;
    const int len = asprintf(&name, "%s/depth-%u/image-%u.qcow2", scratch, depth, depth - 1);
    return len < 0 ? NULL : name;
}
