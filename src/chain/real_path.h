/* SPDX-License-Identifier: Apache-2.0
 *
 * Where a path really ends. Only to explain why a name does not lead where somebody thought, never
 * to find a file: names are joined and opened as text.
 */
#ifndef CHAIN_REAL_PATH_H
#define CHAIN_REAL_PATH_H

/* @path without symbolic links, "." and "..", to be freed. NULL: it leads nowhere, or no memory. */
char *real_path(const char *path);

#endif
