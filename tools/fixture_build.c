/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture build, and what all verbs that build share.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "confine.h"
#include "fixture_verbs.h"
#include "text.h"

#define READ_BYTES (64u << 20) /* no specification is longer */

char *fixture_read_file(struct tool *tool, const char *name, size_t *len)
{
    FILE *file = strcmp(name, "-") == 0 ? stdin : fopen(name, "rbe");
    size_t room = 64u << 10;
    char *text = malloc(room);

    *len = 0;
    while (file && text && !feof(file) && !ferror(file) && *len < READ_BYTES) {
        *len += fread(text + *len, 1, room - 1 - *len, file);
        if (*len == room - 1) {
            char *more = realloc(text, room *= 2);
            if (!more)
                free(text);
            text = more;
        }
    }
    if (!file || ferror(file)) {
        tool_fail(tool, "Could not read '%s': %s", name, strerror(errno));
        free(text);
        text = NULL;
    } else if (!text) {
        tool_fail(tool, "out of memory");
    } else {
        text[*len] = '\0';
    }
    if (file && file != stdin)
        fclose(file);
    return text;
}

/* --- building ---------------------------------------------------------------------------- */

static int build(struct tool *tool, const struct fixture_writing *how,
                 const struct qimg_fixture *fixture, const char *directory)
{
    struct qimg_context *context;
    struct qimg_fixture_result result;
    struct qimg_error err;
    struct job job;
    const struct qimg_fixture_build_options options = { .dir = directory,
                                                        .force = how->force,
                                                        .no_sync = how->no_sync,
                                                        .progress = job_progress,
                                                        .user = &job };

    qimg_error_clear(&err);
    confine_anything(tool); /* a specification names files, and is its author's own */
    if (tool_context(tool, &context))
        return EXIT_FAILED;
    job_begin(&job, tool,
              (struct progress_spec){
                  .style = how->progress_style, .quiet = how->quiet, .in_steps = true, .step = 1 });
    job_start(&job);
    int code = EXIT_DONE;
    if (qimg_fixture_build(context, fixture, &options, &result, &err) < 0)
        code = job_fail(&job, &err, "the new files were taken away");
    else
        job_complete(&job);
    if (code == EXIT_DONE && !how->quiet)
        printf("%" PRIu64 " images, %" PRIu64 " files, %" PRIu64 " bytes\n", result.images,
               result.files, result.bytes);
    qimg_context_free(context);
    return job_end(&job, code);
}

static char *directory_of(const char *name)
{
    const char *slash = strrchr(name, '/');

    if (!slash)
        return strdup(".");
    return slash == name ? strdup("/") : strndup(name, (size_t)(slash - name));
}

int fixture_build_text(struct tool *tool, const struct fixture_writing *how, const char *name,
                       const char *text, const char *directory)
{
    struct qimg_fixture *fixture;
    struct qimg_error err;
    char *dir = directory_of(name);

    qimg_error_clear(&err);
    if (!dir)
        return tool_fail(tool, "out of memory");
    int code = EXIT_DONE;
    if (qimg_fixture_parse(text, strlen(text), dir, &fixture, &err) < 0) {
        fprintf(stderr, "%s: ", tool->name);
        text_show(stderr, name);
        fprintf(stderr, ": ");
        text_show(stderr, err.text);
        fputc('\n', stderr);
        code = EXIT_FAILED;
    } else {
        code = build(tool, how, fixture, directory);
        qimg_fixture_free(fixture);
    }
    free(dir);
    return code;
}

/* --- the verb ---------------------------------------------------------------------------- */

struct build_args {
    const char *directory;
    struct fixture_writing how;
};

static const struct opt_row rows[] = {
    { OPT_TEXT, 'o', "directory", "DIR",
      "where the images go, with manifest.json; it is made if it is not there",
      offsetof(struct build_args, directory), NULL },
    FIXTURE_WRITING_ROWS(struct build_args, how),
    { OPT_OPERAND, 0, "SPEC", NULL,
      "a file; '-' is the standard input; a name without '/' and '.json' is one of\n"
      "those that 'fixture list' shows",
      0, NULL },
    OPT_ROWS_END,
};

const char *fixture_share(void)
{
    const char *told = getenv("QIMG_FIXTURES");

    return told && *told ? told : QIMG_FIXTURE_DIR;
}

/* "chain-basic" means one of those that come with the program. */
static char *find_spec(const char *name)
{
    const size_t len = strlen(name);
    char *path = NULL;

    if (strchr(name, '/') || strcmp(name, "-") == 0 ||
        (len >= 5 && strcmp(name + len - 5, ".json") == 0))
        return strdup(name);
    return asprintf(&path, "%s/%s.json", fixture_share(), name) < 0 ? NULL : path;
}

static int build_file(struct tool *tool, const struct build_args *args, const char *operand)
{
    char *name = find_spec(operand);
    size_t len;
    char *text = name ? fixture_read_file(tool, name, &len) : NULL;
    int code = EXIT_FAILED;

    if (!name)
        tool_fail(tool, "out of memory");
    else if (text && strlen(text) != len)
        tool_fail(tool, "%s: holds a NUL byte", name);
    else if (text)
        code = fixture_build_text(tool, &args->how, name, text, args->directory);
    free(text);
    free(name);
    return code;
}

int fixture_build(struct tool *tool, int argc, char **argv)
{
    struct build_args args = { 0 };
    const int count = opt_parse_ungated(tool, rows, &args, argc, argv);

    if (count < 0)
        return tool->exit_code;
    if (count != 1)
        return tool_fail_usage(tool, "Expecting one specification");
    if (!args.directory)
        return tool_fail_usage(tool, "Expecting a directory (-o)");
    return build_file(tool, &args, argv[optind]);
}
