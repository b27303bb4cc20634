/* SPDX-License-Identifier: Apache-2.0
 *
 * chain: a command of several verbs, each with options, man page and --help of its own. What is
 * no verb is an image to be shown.
 */
#include <stdlib.h>
#include <string.h>

#include "chain_verbs.h"

static const struct command verbs[] = {
#define CHAIN_VERB(name, operands, summary) { "chain " #name, chain_##name, operands, summary },
#include "chain_verbs.def"
#undef CHAIN_VERB
    { NULL, NULL, NULL, NULL },
};

static const char *verb_name(const struct command *verb)
{
    return verb->name + strlen("chain ");
}

static const struct command *find_verb(const char *name)
{
    for (const struct command *verb = verbs; verb->name; verb++)
        if (strcmp(verb_name(verb), name) == 0)
            return verb;
    return NULL;
}

static int print_help(const struct tool *tool)
{
    printf("Usage:\n  %s chain VERB [--help | options]\n%s.\n\nArguments:\n"
           "  -h, --help\n     print this help and exit\n\n"
           "Verbs (%s chain VERB --help tells more; an IMAGE alone is shown):\n\n",
           tool->name, tool->command->summary, tool->name);
    for (const struct command *verb = verbs; verb->name; verb++)
        printf("  %s - %s\n", verb_name(verb), verb->summary);
    putchar('\n');
    return EXIT_DONE;
}

/* Runs @verb with @argv[0] made what complaints begin with. */
static int run_verb(struct tool *tool, const struct command *verb, int argc, char **argv)
{
    char *typed = NULL;
    const char *whole = tool->typed; /* ends in " chain" */
    if (asprintf(&typed, "%s %s", whole, verb_name(verb)) < 0)
        return tool_fail(tool, "out of memory");
    tool->typed = argv[0] = typed;
    tool->command = verb;
    const int code = verb->run(tool, argc, argv);
    free(typed);
    return code;
}

int cmd_chain(struct tool *tool, int argc, char **argv)
{
    if (argc < 2)
        return tool_fail_usage(tool, "Expecting a verb or an image");
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
        return print_help(tool);
    const struct command *verb = find_verb(argv[1]);
    if (verb)
        return run_verb(tool, verb, argc - 1, argv + 1);
    return run_verb(tool, find_verb("show"), argc, argv);
}
