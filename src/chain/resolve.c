/* SPDX-License-Identifier: Apache-2.0
 *
 * Names to places. (1) A name is a protocol's where a ':' stands before any '/'; "./a:b" is a
 * file. (2) Relative names are joined as text with the directory of the image that holds them,
 * as that image's name was spelled: no realpath, no symlink is looked at. (3) Names with a
 * protocol are never joined, so "file:base" inside an image means the current directory.
 */
#include "resolve.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "resolve_options.h"
#include "str.h"

void location_release(struct location *location)
{
    free(location->path);
    free(location->display);
    free(location->format);
    free(location->driver);
    free(location->backing);
    free(location->backing_format);
    free(location->key_secret);
    free(location->data_file);
    *location = (struct location){ 0 };
}

static size_t protocol_length(const char *name)
{
    size_t len = strcspn(name, ":/");
    return name[len] == ':' ? len + 1 : 0;
}

bool resolve_has_protocol(const char *name)
{
    return protocol_length(name) > 0;
}

static bool starts_with(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

static int plain_path(const char *path, const char *driver, struct location *out,
                      struct qimg_error *err)
{
    if (*path == '\0')
        return qimg_fail(err, EINVAL, "The 'file' block driver requires a file name");
    out->path = strdup(path);
    out->display = strdup(path);
    if (driver)
        out->driver = strdup(driver);
    if (!out->path || !out->display || (driver && !out->driver))
        return qimg_fail_memory(err);
    return 0;
}

/* What stands behind "file:". With a colon of its own, "./" is to say that it is a file's. */
static int path_behind(const char *path, const char *driver, struct location *out,
                       struct qimg_error *err)
{
    AUTO_FREE char *local = str_format("%s%s", resolve_has_protocol(path) ? "./" : "", path);
    return local ? plain_path(local, driver, out, err) : qimg_fail_memory(err);
}

static int read_options(struct block_option_vec *options, struct location *out,
                        struct qimg_error *err)
{
    int rc = location_from_options(options, out, err);
    block_options_release(options);
    return rc;
}

static int read_text(const char *name, struct location *out, struct qimg_error *err)
{
    size_t protocol = protocol_length(name);
    if (protocol == 0)
        return plain_path(name, NULL, out, err);
    out->embedded = true;
    if (starts_with(name, "json:")) {
        struct block_option_vec options = { 0 };
        int rc = block_options_from_json(name + protocol, &options, err);
        if (rc < 0) {
            block_options_release(&options);
            return rc;
        }
        return read_options(&options, out, err);
    }
    if (starts_with(name, "file:"))
        return path_behind(name + protocol, "file", out, err);
    if (starts_with(name, "host_device:"))
        return path_behind(name + protocol, "host_device", out, err);
    return qimg_fail(err, EINVAL, "Unknown protocol '%.*s'", (int)protocol - 1, name);
}

int resolve_name(struct qimg_context *context, const char *name, bool image_opts,
                 struct location *out, struct qimg_error *err)
{
    (void)context;
    struct location place = { 0 };
    int rc;
    if (image_opts) {
        struct block_option_vec options = { 0 };
        rc = block_options_from_keyval(name, &options, err);
        if (rc == 0)
            rc = location_from_options(&options, &place, err);
        block_options_release(&options);
    } else {
        rc = read_text(name, &place, err);
    }
    if (rc < 0) {
        location_release(&place);
        return rc;
    }
    *out = place;
    return 0;
}

char *resolve_join(const char *holder, const char *recorded)
{
    if (*recorded == '/')
        return strdup(recorded);
    const char *slash = strrchr(holder, '/');
    if (!slash)
        return strdup(recorded);
    return str_format("%.*s%s", (int)(slash - holder + 1), holder, recorded);
}

char *resolve_full_name(const char *holder, const char *recorded)
{
    if (*recorded == '/' || resolve_has_protocol(recorded))
        return strdup(recorded);
    return starts_with(holder, "json:") ? NULL : resolve_join(holder, recorded);
}

int resolve_recorded(struct qimg_context *context, const char *holder, const char *recorded,
                     struct location *out, struct qimg_error *err)
{
    if (resolve_has_protocol(recorded))
        return resolve_name(context, recorded, false, out, err);
    if (*recorded != '/' && starts_with(holder, "json:"))
        return qimg_fail(err, EINVAL, "Cannot use relative backing file names for '%s'", holder);

    AUTO_FREE char *full = resolve_join(holder, recorded);
    if (!full)
        return qimg_fail_memory(err);
    struct location place = { 0 };
    /* A joined name is a path whatever colons the directory has. */
    int rc = plain_path(full, NULL, &place, err);
    if (rc < 0) {
        location_release(&place);
        return rc;
    }
    *out = place;
    return 0;
}
