/* SPDX-License-Identifier: Apache-2.0
 *
 * Names of places on the network. They are never visited; here is only what can be read off them.
 */
#ifndef CHAIN_REMOTE_H
#define CHAIN_REMOTE_H

#include <stdbool.h>

/* Does @recorded (a URI, PROTOCOL:..., or json:) name a place that QEMU would reach by network? */
bool remote_is(const char *recorded);

/* Does the name hold a user or a password? */
bool remote_has_credentials(const char *recorded);

#endif
