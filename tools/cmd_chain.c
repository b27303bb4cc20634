/* SPDX-License-Identifier: Apache-2.0
 *
 * chain: anything that is no verb is an image, to be shown.
 */
#include "chain_verbs.h"
#include "verb.h"

static const struct command verbs[] = {
#define CHAIN_VERB(name, operands, summary) { "chain " #name, chain_##name, operands, summary },
#include "chain_verbs.def"
#undef CHAIN_VERB
    { NULL, NULL, NULL, NULL },
};

int cmd_chain(struct tool *tool, int argc, char **argv)
{
    static const struct verb_set set = { .verbs = verbs,
                                         .note = "; an IMAGE alone is shown",
                                         .missing = "Expecting a verb or an image",
                                         .otherwise = "show" };

    return verb_dispatch(tool, &set, argc, argv);
}
