/* SPDX-License-Identifier: Apache-2.0
 *
 * What the library does for each command, on real files, with something failing at every point:
 * an allocation, or a system call on files (EIO, ENOSPC, EINTR, a short transfer), once and from
 * then on. (Not those inside of jansson: its lexer loses what it has no memory for, without a
 * word.) What fails says so; images are sound then, and read as before, sector by sector, or as
 * they shall; an image that was to be made is not there, or no image yet; and what does not fail
 * has done all. A command without a job here is a failure of this program.
 *
 *   crash_commands memory|calls     QIMG_LONG=1: every point, not only some of them
 *   QIMG_CRASH_ONLY=COMMAND         nothing else
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits.h"
#include "fail.h"
#include "fail_point.h"
#include "library_job.h"
#include "qimg/check.h"
#include "qimg/context.h"
#include "qimg/fixture.h"
#include "tier.h"

#define SECTOR 512u

/* Each point of the first ones, then one in so many. */
#define FIRST       12
#define MEMORY_STEP 23
#define CALLS_STEP  11

/* Points tried in a short run, at least; three quarters of what was counted. */
#define MEMORY_FLOOR 1700
#define CALLS_FLOOR  2000

static const char *const commands[] = {
#define COMMAND(name, operands, summary) #name,
#include "commands.def"
#undef COMMAND
#define CHAIN_VERB(name, operands, summary) "chain " #name,
#include "chain_verbs.def"
#undef CHAIN_VERB
#define FIXTURE_VERB(name, operands, summary) "fixture " #name,
#include "fixture_verbs.def"
#undef FIXTURE_VERB
};

static const struct fault {
    const char *name;
    enum fail_kind kind;
    bool forever, harmless; /* harmless: nobody needs to notice */
} memory_faults[] = {
    { "no memory, once", FAIL_MEMORY, false, false },
    { "no memory from then on", FAIL_MEMORY, true, false },
    { NULL, FAIL_MEMORY, false, false },
}, call_faults[] = {
    { "EIO once", FAIL_EIO, false, false },
    { "EIO from then on", FAIL_EIO, true, false },
    { "ENOSPC once", FAIL_ENOSPC, false, false },
    { "ENOSPC from then on", FAIL_ENOSPC, true, false },
    { "EINTR", FAIL_EINTR, false, false },
    { "short from then on", FAIL_SHORT, true, true },
    { NULL, FAIL_MEMORY, false, false },
};

struct content {
    uint8_t *bytes; /* owned; NULL: no such image, or it does not open */
    uint64_t size;
    bool exists; /* the file */
};

struct run {
    const struct library_job *job;
    const struct fault *fault;
    uint64_t at;
    struct content before[LIBRARY_JOB_NAMES], after[LIBRARY_JOB_NAMES];
    uint64_t points, reported, wrong;
};

static void must(bool fine, const char *what)
{
    if (fine)
        return;
    fprintf(stderr, "crash_commands: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void PRINTF_LIKE(2, 3) complain(struct run *run, const char *fmt, ...)
{
    va_list args;

    run->wrong++;
    printf("%s (%s), %s at %" PRIu64 ": ", run->job->command, run->job->images[0],
           run->fault ? run->fault->name : "no fault", run->at);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    putchar('\n');
}

static struct qimg_context *new_context(struct qimg_error *err)
{
    const struct qimg_context_options how = { .engine = QIMG_ENGINE_THREADS, .threads = 1 };
    struct qimg_context *context;

    return qimg_context_new(&how, &context, err) < 0 ? NULL : context;
}

/* --- the tree of images ----------------------------------------------------------------------- */

static void copy_file(const char *from, const char *to)
{
    static char buf[1 << 20];
    const int in = open(from, O_RDONLY), out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    const ssize_t len = in < 0 ? -1 : read(in, buf, sizeof(buf));

    must(out >= 0 && len >= 0 && len < (ssize_t)sizeof(buf) && write(out, buf, (size_t)len) == len,
         from);
    must(close(in) == 0 && close(out) == 0, to);
}

/* Calls @on for each entry of @folder. */
static void each_entry(const char *folder, void (*on)(const char *folder, const char *name))
{
    DIR *entries = opendir(folder);

    must(entries != NULL, folder);
    for (const struct dirent *e; (e = readdir(entries));)
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
            on(folder, e->d_name);
    must(closedir(entries) == 0, folder);
}

static bool is_folder(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void remove_one(const char *folder, const char *name)
{
    char path[300];

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    if (is_folder(path))
        each_entry(path, remove_one);
    must((is_folder(path) ? rmdir(path) : unlink(path)) == 0, path);
}

/* "../pristine/x" to "x". */
static void copy_one(const char *folder, const char *name)
{
    char from[300];

    (void)snprintf(from, sizeof(from), "%s/%s", folder, name);
    const char *to = from + strlen("../pristine/");
    if (!is_folder(from)) {
        copy_file(from, to);
        return;
    }
    must(mkdir(to, 0700) == 0, to);
    each_entry(from, copy_one);
}

static void fresh_tree(void)
{
    each_entry(".", remove_one);
    each_entry("../pristine", copy_one);
}

/* Goes to an empty folder beside "pristine", which holds the tree. */
static void make_tree(char *folder)
{
    const struct qimg_fixture_build_options how = { .dir = "pristine" };
    struct qimg_fixture_result result;
    struct qimg_fixture *fixture = NULL;
    struct qimg_error err;

    must(mkdtemp(folder) && chdir(folder) == 0 && mkdir("work", 0700) == 0, folder);
    struct qimg_context *context = new_context(&err);
    must(context &&
             qimg_fixture_parse(library_tree, strlen(library_tree), NULL, &fixture, &err) == 0 &&
             qimg_fixture_build(context, fixture, &how, &result, &err) == 0,
         err.text);
    qimg_fixture_free(fixture);
    qimg_context_free(context);
    must(chdir("work") == 0, "work");
}

/* --- what images hold ----------------------------------------------------------------------- */

static bool is_raw(const char *name)
{
    return strcmp(name + strlen(name) - 4, ".raw") == 0;
}

static bool sound(struct qimg_context *context, const char *name, struct qimg_error *err)
{
    const struct qimg_open_options how = { .format = "qcow2", .check = true, .no_backing = true };
    const struct qimg_check_options look = { .fix = QIMG_CHECK_FIX_NONE };
    struct qimg_check_result found;
    struct qimg_image *image;

    if (qimg_image_open(context, name, &how, &image, err) < 0)
        return false;
    const int rc = qimg_image_check(image, &look, &found, err);
    qimg_image_close(image);
    if (rc == 0 && (found.corruptions || found.check_errors))
        (void)qimg_fail(err, EBADMSG, "%llu corruptions", (unsigned long long)found.corruptions);
    return rc == 0 && !found.corruptions && !found.check_errors;
}

static struct content content_of(struct qimg_context *context, const char *name,
                                 struct qimg_error *err)
{
    const struct qimg_open_options how = { .format = is_raw(name) ? "raw" : "qcow2" };
    struct content content = { .exists = access(name, F_OK) == 0 };
    struct qimg_image *image;

    if (!content.exists || qimg_image_open(context, name, &how, &image, err) < 0)
        return content;
    content.size = qimg_image_size(image);
    content.bytes = malloc(content.size + 1);
    must(content.bytes != NULL, "memory");
    if (qimg_image_read(image, 0, content.bytes, content.size, err) < 0 ||
        (!is_raw(name) && !sound(context, name, err))) {
        free(content.bytes);
        content.bytes = NULL;
    }
    qimg_image_close(image);
    return content;
}

static void look_at_all(const struct library_job *job, struct content out[LIBRARY_JOB_NAMES],
                        struct qimg_error *err)
{
    struct qimg_context *context = new_context(err);

    must(context != NULL, "context");
    for (unsigned i = 0; i < LIBRARY_JOB_NAMES && job->images[i]; i++)
        out[i] = content_of(context, job->images[i], err);
    qimg_context_free(context);
}

static void release_all(struct content contents[LIBRARY_JOB_NAMES])
{
    for (unsigned i = 0; i < LIBRARY_JOB_NAMES; i++)
        free(contents[i].bytes);
    memset(contents, 0, LIBRARY_JOB_NAMES * sizeof(*contents));
}

static bool same(const struct content *a, const struct content *b)
{
    if (!a->bytes || !b->bytes)
        return a->bytes == b->bytes;
    return a->size == b->size && memcmp(a->bytes, b->bytes, a->size) == 0;
}

/* Each sector of @is is that of @before or of @after. */
static bool mixed(const struct content *is, const struct content *before,
                  const struct content *after)
{
    if (is->size != before->size && is->size != after->size)
        return false;
    for (uint64_t off = 0; off < is->size; off += SECTOR) {
        const size_t len = min_u64(SECTOR, is->size - off);
        const bool old =
            off + len <= before->size && memcmp(is->bytes + off, before->bytes + off, len) == 0;
        const bool new =
            off + len <= after->size &&memcmp(is->bytes + off, after->bytes + off, len) == 0;
        if (!old && !new)
            return false;
    }
    return true;
}

/* An image that was to be made: after one failure it is gone, after many it is no image. */
static bool is_not_made(const struct run *run, const struct content *is,
                        const struct content *after)
{
    if (!run->fault->forever)
        return !is->exists || same(is, after);
    return !is->bytes || is->size < after->size || same(is, after);
}

static bool may_be(const struct run *run, unsigned i, const struct content *is)
{
    const struct content *before = &run->before[i], *after = &run->after[i];

    if (!before->exists && after->exists)
        return is_not_made(run, is, after);
    if (!is->bytes)
        return !before->bytes || !after->bytes;
    if (!before->bytes)
        return same(is, after);
    return after->bytes ? mixed(is, before, after) : same(is, before);
}

static void judge(struct run *run, int rc)
{
    struct content now[LIBRARY_JOB_NAMES] = { 0 };
    struct qimg_error err;

    qimg_error_clear(&err);
    look_at_all(run->job, now, &err);
    for (unsigned i = 0; i < LIBRARY_JOB_NAMES && run->job->images[i]; i++) {
        if (rc == 0 && !same(&now[i], &run->after[i]))
            complain(run, "said to be done, but %s is not: %s", run->job->images[i], err.text);
        else if (rc < 0 && !may_be(run, i, &now[i]))
            complain(run, "%s is %s: %s", run->job->images[i],
                     now[i].bytes    ? "otherwise"
                     : now[i].exists ? "bad"
                                     : "not there",
                     err.text);
    }
    if (run->job->moves && now[0].exists == now[1].exists)
        complain(run, "%s is %s", run->job->images[0], now[0].exists ? "in two places" : "lost");
    release_all(now);
}

/* --- making it fail ------------------------------------------------------------------------- */

static int do_job(const struct library_job *job, struct qimg_error *err)
{
    struct qimg_context *context = new_context(err);

    if (!context)
        return -err->code;
    const int rc = job->run(context, err);
    qimg_context_free(context);
    return rc;
}

static void recover(const struct library_job *job)
{
    struct qimg_error err;
    struct qimg_context *context = job->recover ? new_context(&err) : NULL;

    if (!context)
        return;
    job->recover(context);
    qimg_context_free(context);
}

/* Returns whether the point was reached. */
static bool try_point(struct run *run)
{
    struct qimg_error err;

    qimg_error_clear(&err);
    fresh_tree();
    fail_arm(run->fault->kind, run->at, run->fault->forever);
    const int rc = do_job(run->job, &err);
    const bool reached = fail_disarm() >= run->at;
    run->points += reached;
    run->reported += reached && rc < 0;
    if (rc < 0 && err.text[0] == '\0')
        complain(run, "nothing is said of it");
    if (rc < 0 && run->fault->harmless)
        complain(run, "fails: %s", err.text);
    if (rc < 0)
        recover(run->job);
    judge(run, rc);
    return reached;
}

static void try_fault(struct run *run, const struct fault *fault)
{
    const unsigned some = fault->kind == FAIL_MEMORY ? MEMORY_STEP : CALLS_STEP;
    const unsigned step = run->job->suspect ? 1 : tier_step(some);
    const struct run before = *run;

    run->fault = fault;
    run->at = 1;
    while (try_point(run))
        run->at += run->at < FIRST ? 1 : step;
    printf("%s, %s: %" PRIu64 " points, %" PRIu64 " tried, %" PRIu64 " reported\n",
           run->job->command, fault->name, run->at - 1, run->points - before.points,
           run->reported - before.reported);
    run->fault = NULL;
    (void)fflush(stdout);
}

static void try_job(struct run *run, const struct library_job *job, const struct fault *faults)
{
    struct qimg_error err;

    run->job = job;
    qimg_error_clear(&err);
    fresh_tree();
    look_at_all(job, run->before, &err);
    if (do_job(job, &err) < 0)
        complain(run, "%s", err.text);
    look_at_all(job, run->after, &err);
    if (!run->after[0].bytes && !run->after[1].bytes)
        complain(run, "it makes no such image");
    for (const struct fault *fault = faults; fault->name; fault++)
        try_fault(run, fault);
    release_all(run->before);
    release_all(run->after);
}

static void try_list(struct run *run, const struct library_job *jobs, const struct fault *faults)
{
    const char *only = getenv("QIMG_CRASH_ONLY");

    for (; jobs->command; jobs++)
        if (!only || strcmp(only, jobs->command) == 0)
            try_job(run, jobs, faults);
}

/* --- every command -------------------------------------------------------------------------- */

static bool has_job(const char *command)
{
    const struct library_job *lists[] = { image_jobs, copy_jobs, chain_jobs };

    for (size_t i = 0; i < ARRAY_COUNT(lists); i++)
        for (const struct library_job *job = lists[i]; job->command; job++)
            if (strcmp(job->command, command) == 0)
                return true;
    return strcmp(command, "chain") == 0 || strcmp(command, "fixture") == 0; /* their verbs have */
}

static unsigned without_job(void)
{
    unsigned count = 0;

    for (size_t i = 0; i < ARRAY_COUNT(commands); i++) {
        if (has_job(commands[i]))
            continue;
        printf("%s: no job here makes it fail\n", commands[i]);
        count++;
    }
    return count;
}

int main(int argc, char **argv)
{
    const bool memory = argc > 1 && strcmp(argv[1], "memory") == 0;
    const struct fault *faults = memory ? memory_faults : call_faults;
    char folder[] = "/dev/shm/qimg-commands-XXXXXX", elsewhere[] = "/tmp/qimg-commands-XXXXXX";
    char *place = access("/dev/shm", W_OK) == 0 ? folder : elsewhere;
    struct run run = { 0 };

    (void)setvbuf(stdout, NULL, _IOLBF, 0); /* what was found is told, even if the next job dies */
    make_tree(place);
    try_list(&run, image_jobs, faults);
    try_list(&run, copy_jobs, faults);
    try_list(&run, chain_jobs, faults);
    const unsigned missing = without_job();
    printf("%" PRIu64 " points tried, %" PRIu64 " reported, %" PRIu64 " wrong\n", run.points,
           run.reported, run.wrong);
    each_entry(".", remove_one);
    must(chdir("..") == 0, "back");
    each_entry(".", remove_one);
    must(rmdir(place) == 0, place);
    return run.wrong || missing ||
           (!getenv("QIMG_CRASH_ONLY") && run.points < (memory ? MEMORY_FLOOR : CALLS_FLOOR));
}
