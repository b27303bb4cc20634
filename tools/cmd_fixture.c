/* SPDX-License-Identifier: Apache-2.0
 *
 * fixture: images for tests, made to a specification.
 */
#include "fixture_verbs.h"
#include "verb.h"

static const struct command verbs[] = {
#define FIXTURE_VERB(name, operands, summary) \
    { "fixture " #name, fixture_##name, operands, summary },
#include "fixture_verbs.def"
#undef FIXTURE_VERB
    { NULL, NULL, NULL, NULL },
};

int cmd_fixture(struct tool *tool, int argc, char **argv)
{
    static const struct verb_set set = { .verbs = verbs,
                                         .note = "",
                                         .missing = "Expecting a verb" };

    return verb_dispatch(tool, &set, argc, argv);
}
