/* SPDX-License-Identifier: Apache-2.0
 *
 * Writing XML as libvirt formats it: two spaces a level, single quotes, five escapes.
 */
#ifndef CHAIN_XML_H
#define CHAIN_XML_H

#include "str.h"

struct xml {
    struct str text;
    unsigned depth; /* open elements */
    bool unfit;     /* a value was asked for that XML 1.0 cannot hold; the text is incomplete */
};

/* "<NAME" on a line of its own; attributes follow, then one of xml_open_end(), xml_empty_end(). */
void xml_begin(struct xml *xml, const char *name);
void xml_attribute(struct xml *xml, const char *name, const char *value); /* NULL: nothing */
void xml_empty_end(struct xml *xml);
void xml_open_end(struct xml *xml);

/* "</NAME>" */
void xml_close(struct xml *xml, const char *name);

#endif
