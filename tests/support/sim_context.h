/* SPDX-License-Identifier: Apache-2.0
 *
 * The whole library over the simulator: a context whose files are an engine's.
 */
#ifndef SUPPORT_SIM_CONTEXT_H
#define SUPPORT_SIM_CONTEXT_H

#include "context.h"
#include "io_sim.h"

/* Takes @engine over; aborts where that fails. One worker thread at most, whatever @options say
 * (NULL = all defaults). */
struct qimg_context *sim_context_new(struct io_engine *engine,
                                     const struct qimg_context_options *options);

#endif
