/* SPDX-License-Identifier: Apache-2.0
 *
 * See verb.h.
 */
#include "verb.h"

#include <stdlib.h>
#include <string.h>

static const char *verb_name(const struct command *verb)
{
    return strchr(verb->name, ' ') + 1;
}

static const struct command *find_verb(const struct verb_set *set, const char *name)
{
    for (const struct command *verb = set->verbs; name && verb->name; verb++)
        if (strcmp(verb_name(verb), name) == 0)
            return verb;
    return NULL;
}

static int print_help(const struct tool *tool, const struct verb_set *set)
{
    const char *command = tool->command->name;

    printf("Usage:\n  %s %s VERB [--help | options]\n%s.\n\nArguments:\n"
           "  -h, --help\n     print this help and exit\n\n"
           "Verbs (%s %s VERB --help tells more%s):\n\n",
           tool->name, command, tool->command->summary, tool->name, command, set->note);
    for (const struct command *verb = set->verbs; verb->name; verb++)
        printf("  %s - %s\n", verb_name(verb), verb->summary);
    putchar('\n');
    return EXIT_DONE;
}

/* Runs @verb with @argv[0] made what complaints begin with. */
static int run_verb(struct tool *tool, const struct command *verb, int argc, char **argv)
{
    char *typed = NULL;
    const char *whole = tool->typed; /* ends in the command */
    if (asprintf(&typed, "%s %s", whole, verb_name(verb)) < 0)
        return tool_fail(tool, "out of memory");
    tool->typed = argv[0] = typed;
    tool->command = verb;
    const int code = verb->run(tool, argc, argv);
    free(typed);
    return code;
}

int verb_dispatch(struct tool *tool, const struct verb_set *set, int argc, char **argv)
{
    if (argc < 2)
        return tool_fail_usage(tool, "%s", set->missing);
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
        return print_help(tool, set);
    const struct command *verb = find_verb(set, argv[1]);
    if (verb)
        return run_verb(tool, verb, argc - 1, argv + 1);
    verb = find_verb(set, set->otherwise);
    if (!verb)
        return tool_fail_usage(tool, "There is no '%s %s'", tool->command->name, argv[1]);
    return run_verb(tool, verb, argc, argv);
}
