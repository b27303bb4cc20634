/* SPDX-License-Identifier: Apache-2.0 */
#include "sim_context.h"

#include <stdlib.h>

struct qimg_context *sim_context_new(struct io_engine *engine,
                                     const struct qimg_context_options *options)
{
    struct qimg_context_options how = { 0 };
    struct qimg_context *context;
    struct qimg_error err;

    if (options)
        how = *options;
    how.threads = 1;
    if (qimg_context_new(&how, &context, &err) < 0)
        abort();
    io_engine_free(context->engine);
    context->engine = engine;
    engine->workers = context->workers;
    return context;
}
