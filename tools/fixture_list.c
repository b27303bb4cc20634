/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture list: the specifications that come with the program, each with the line that says what
 * it is for.
 */
#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "fixture_verbs.h"
#include "text.h"

static int is_spec(const struct dirent *entry)
{
    const size_t len = strlen(entry->d_name);

    return len > 5 && strcmp(entry->d_name + len - 5, ".json") == 0;
}

static int show(struct tool *tool, const char *file)
{
    struct qimg_fixture *fixture;
    struct qimg_error err;
    char *path = NULL;
    size_t len;

    qimg_error_clear(&err);
    if (asprintf(&path, "%s/%s", fixture_share(), file) < 0)
        return tool_fail(tool, "out of memory");
    char *text = fixture_read_file(tool, path, &len);
    int code = text ? EXIT_DONE : EXIT_FAILED;
    if (text && qimg_fixture_parse(text, len, fixture_share(), &fixture, &err) < 0) {
        code = tool_fail_error(tool, "", &err);
    } else if (text) {
        char name[256];
        snprintf(name, sizeof(name), "%.*s", (int)strlen(file) - 5, file);
        text_show_padded(stdout, name, 24);
        putchar(' ');
        text_show(stdout, qimg_fixture_purpose(fixture));
        putchar('\n');
        qimg_fixture_free(fixture);
    }
    free(text);
    free(path);
    return code;
}

static const struct opt_row rows[] = { OPT_ROWS_END };

int fixture_list(struct tool *tool, int argc, char **argv)
{
    struct dirent **entries;
    const int count = opt_parse_ungated(tool, rows, NULL, argc, argv);

    if (count < 0)
        return tool->exit_code;
    if (count != 0)
        return tool_fail_usage(tool, "Expecting no operand");
    const int found = scandir(fixture_share(), &entries, is_spec, alphasort);
    if (found < 0)
        return tool_fail(tool, "Could not read '%s': %s", fixture_share(), strerror(errno));
    int code = EXIT_DONE;
    for (int i = 0; i < found; i++) {
        if (show(tool, entries[i]->d_name) != EXIT_DONE)
            code = EXIT_FAILED;
        free(entries[i]);
    }
    free(entries);
    return code;
}
