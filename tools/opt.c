/* SPDX-License-Identifier: Apache-2.0
 *
 * One parse loop on getopt_long for all subcommands, and one printer of --help, in the style of
 * QEMU 10.2: a line of usage, the summary, then each argument on a line of its own with what it
 * does indented below it.
 */
#include "opt.h"

#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

#define MAX_ROWS   64  /* of one command, shared ones included */
#define USAGE_WIDE 76  /* columns of a line of usage */
#define LONG_BASE  256 /* getopt's value for row n without a letter */

static const struct opt_row help_rows[] = {
    { OPT_FLAG, 'h', "help", NULL, "print this help and exit", 0, NULL },
    OPT_ROWS_END,
};

static const struct opt_row no_rows[] = { OPT_ROWS_END };

/* --- printing ----------------------------------------------------------------------------- */

static void print_row(const struct opt_row *row)
{
    if (row->kind == OPT_OPERAND)
        printf("  %s", row->name);
    else if (row->letter && row->name)
        printf("  -%c, --%s", row->letter, row->name);
    else if (row->letter)
        printf("  -%c", row->letter);
    else
        printf("  --%s", row->name);
    if (row->arg)
        printf(row->kind == OPT_MAYBE ? "[=%s]" : " %s", row->arg);
    fputs("\n     ", stdout);
    for (const char *c = row->help; *c; c++) {
        putchar(*c);
        if (*c == '\n')
            fputs("     ", stdout);
    }
    putchar('\n');
}

void opt_print_rows(const struct opt_row *rows)
{
    for (const struct opt_row *row = rows; row->kind != OPT_END; row++)
        if (row->help)
            print_row(row);
}

/* Adds one "[-f FMT]" to the line of usage, breaking it where it would get too long. */
static size_t print_usage_word(const char *word, size_t column)
{
    size_t len = strlen(word);
    if (column + 1 + len > USAGE_WIDE) {
        printf("\n        %s", word);
        return 8 + len;
    }
    printf(" %s", word);
    return column + 1 + len;
}

static size_t print_usage_words(const struct opt_row *rows, size_t column)
{
    for (const struct opt_row *row = rows; row->kind != OPT_END; row++) {
        char word[80];
        if (!row->help || row->kind == OPT_OPERAND)
            continue;
        const bool takes = row->arg && row->kind != OPT_MAYBE;
        const char *space = takes ? " " : "", *arg = takes ? row->arg : "";
        if (row->letter)
            snprintf(word, sizeof(word), "[-%c%s%s]", row->letter, space, arg);
        else
            snprintf(word, sizeof(word), "[--%s%s%s]", row->name, space, arg);
        column = print_usage_word(word, column);
    }
    return column;
}

static void print_usage(const struct tool *tool, const struct opt_row *rows,
                        const struct opt_row *ours)
{
    const struct command *command = tool->command;
    bool alone = strcmp(tool->name, "qemu-io") == 0;
    int start =
        printf("Usage:\n  %s%s%s", tool->name, alone ? "" : " ", alone ? "" : command->name);
    size_t column = print_usage_words(rows, (size_t)start - strlen("Usage:\n"));
    column = print_usage_words(ours, column);
    print_usage_word(command->operands, column);
    printf("\n%s.\n", command->summary);
}

static void print_help(const struct tool *tool, const struct opt_row *rows,
                       const struct opt_row *ours, bool gated)
{
    print_usage(tool, rows, ours);
    printf("\nArguments:\n");
    opt_print_rows(help_rows);
    opt_print_rows(rows);
    if (ours->kind != OPT_END)
        printf("\nBeyond qemu-img:\n");
    opt_print_rows(ours);
    if (gated) {
        printf("\nWhat may be opened because an image names it:\n");
        opt_print_rows(opt_gate_rows);
    }
    putchar('\n');
}

/* --- parsing ------------------------------------------------------------------------------ */

struct parser {
    struct tool *tool;
    const struct opt_row *rows[MAX_ROWS];
    void *args[MAX_ROWS]; /* that the row's offset counts from */
    size_t count;
    char letters[2 * MAX_ROWS + 2];
    struct option longs[MAX_ROWS + 1];
};

static void add_rows(struct parser *p, const struct opt_row *rows, void *args)
{
    for (const struct opt_row *row = rows; row->kind != OPT_END; row++) {
        if (row->kind == OPT_OPERAND)
            continue;
        assert(p->count < MAX_ROWS);
        p->rows[p->count] = row;
        p->args[p->count] = args;
        p->count++;
    }
}

static int has_arg(const struct opt_row *row)
{
    if (row->kind == OPT_MAYBE)
        return optional_argument;
    return row->arg ? required_argument : no_argument;
}

/* Writes the tables that getopt_long wants. */
static void make_tables(struct parser *p, bool stop_at_operand)
{
    char *letter = p->letters;
    size_t longs = 0;
    if (stop_at_operand)
        *letter++ = '+';
    for (size_t i = 0; i < p->count; i++) {
        const struct opt_row *row = p->rows[i];
        if (row->letter) {
            *letter++ = row->letter;
            if (row->arg && row->kind != OPT_MAYBE)
                *letter++ = ':';
        }
        if (row->name)
            p->longs[longs++] = (struct option){
                .name = row->name,
                .has_arg = has_arg(row),
                .val = LONG_BASE + (int)i,
            };
    }
    *letter = '\0';
}

/* The row that getopt's answer stands for; NULL where it complained. */
static const struct opt_row *row_of(const struct parser *p, int answer, size_t *index)
{
    for (size_t i = 0; i < p->count; i++) {
        if (answer == LONG_BASE + (int)i || (p->rows[i]->letter && answer == p->rows[i]->letter)) {
            *index = i;
            return p->rows[i];
        }
    }
    return NULL;
}

static int apply(const struct parser *p, const struct opt_row *row, size_t index, const char *value)
{
    char *slot = (char *)p->args[index] + row->at;
    switch (row->kind) {
    case OPT_FLAG:
        *(bool *)slot = true;
        return EXIT_DONE;
    case OPT_TEXT:
        *(const char **)slot = value;
        return EXIT_DONE;
    case OPT_CALL:
    case OPT_MAYBE:
        return row->set(p->tool, slot, value);
    case OPT_IGNORED:
    case OPT_OPERAND:
    case OPT_END:
        break;
    }
    return EXIT_DONE;
}

static int finished(struct tool *tool, int exit_code)
{
    tool->exit_code = exit_code;
    return -1;
}

/* @argv with the characters escaped that a terminal would act on; no option has any in its name.
 * NULL: no memory. */
static char **shown_args(int argc, char *const *argv)
{
    char **shown = calloc((size_t)argc + 1, sizeof(*shown));
    for (int i = 0; shown && i < argc; i++) {
        size_t len = 0;
        FILE *to = open_memstream(&shown[i], &len);
        if (!to)
            return shown;
        text_show(to, argv[i]);
        (void)fclose(to);
    }
    return shown;
}

/* getopt words its complaint best, but quotes the argument as it is: so it goes once more through
 * arguments that are fit to be quoted. @argv is as it was before getopt moved operands. */
static void complain(const struct parser *p, int argc, char *const *argv)
{
    char **shown = shown_args(argc, argv);
    optind = 0;
    opterr = 1;
    for (int answer = 0; shown && answer != -1 && answer != '?';)
        answer = getopt_long(argc, shown, p->letters, p->longs, NULL);
    for (int i = 0; shown && i < argc; i++)
        free(shown[i]);
    free(shown);
}

/* Runs getopt_long to its end. @wants_help is set where -h was met: what follows is not read.
 * @typed is a copy of @argv. */
static int parse_typed(struct parser *p, int argc, char **argv, char *const *typed,
                       const bool *wants_help)
{
    int answer;
    optind = 0; /* GNU: start afresh */
    opterr = 0;
    while ((answer = getopt_long(argc, argv, p->letters, p->longs, NULL)) != -1) {
        size_t index = 0;
        const struct opt_row *row = row_of(p, answer, &index);
        if (!row) {
            complain(p, argc, typed);
            return finished(p->tool, tool_try_help(p->tool));
        }
        int code = apply(p, row, index, optarg);
        if (code != EXIT_DONE)
            return finished(p->tool, code);
        if (*wants_help || p->tool->exit_code)
            break;
    }
    opterr = 1; /* for the commands of io, whose words are the user's own */
    return argc - optind;
}

static int parse(struct parser *p, int argc, char **argv, const bool *wants_help)
{
    char **typed = malloc(((size_t)argc + 1) * sizeof(*typed));
    if (!typed)
        return finished(p->tool, tool_fail(p->tool, "out of memory"));
    memcpy(typed, argv, ((size_t)argc + 1) * sizeof(*typed));
    const int operands = parse_typed(p, argc, argv, typed, wants_help);
    free(typed);
    return operands;
}

/* @p has the rows of the gate, where there are any, already. */
static int parse_command(struct parser *p, const struct opt_row *rows, const struct opt_row *ours,
                         void *args, int argc, char **argv)
{
    struct tool *tool = p->tool;
    const bool gated = p->count > 0;
    bool wants_help = false;
    add_rows(p, help_rows, &wants_help);
    add_rows(p, rows, args);
    if (tool->as_qemu)
        ours = no_rows;
    add_rows(p, ours, args);
    if (!tool->as_qemu)
        add_rows(p, opt_engine_rows, tool);
    make_tables(p, false);
    int operands = parse(p, argc, argv, &wants_help);
    if (operands >= 0 && wants_help) {
        print_help(tool, rows, ours, gated);
        return finished(tool, EXIT_DONE);
    }
    return operands;
}

int opt_parse(struct tool *tool, const struct opt_row *rows, void *args, int argc, char **argv)
{
    struct parser p = { .tool = tool };
    add_rows(&p, opt_gate_rows, tool);
    return parse_command(&p, rows, no_rows, args, argc, argv);
}

int opt_parse_beyond(struct tool *tool, const struct opt_row *rows, const struct opt_row *ours,
                     void *args, int argc, char **argv)
{
    struct parser p = { .tool = tool };
    add_rows(&p, opt_gate_rows, tool);
    return parse_command(&p, rows, ours, args, argc, argv);
}

int opt_parse_ungated(struct tool *tool, const struct opt_row *rows, void *args, int argc,
                      char **argv)
{
    struct parser p = { .tool = tool };
    return parse_command(&p, rows, no_rows, args, argc, argv);
}

int opt_parse_global(struct tool *tool, const struct opt_row *rows, int argc, char **argv)
{
    const bool never = false;
    struct parser p = { .tool = tool };
    add_rows(&p, rows, tool);
    add_rows(&p, opt_engine_rows, tool);
    add_rows(&p, opt_gate_rows, tool);
    make_tables(&p, true);
    return parse(&p, argc, argv, &never);
}
