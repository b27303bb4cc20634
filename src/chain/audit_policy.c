/* SPDX-License-Identifier: Apache-2.0
 *
 * Audit policies: presets (audit_kinds.def), single settings as text, and files of JSON, whose
 * members become the same settings.
 */
#include <inttypes.h>
#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "audit.h"
#include "bits.h"
#include "cleanup.h"
#include "size.h"
#include "str.h"

#define A QIMG_AUDIT_ALLOW
#define N QIMG_AUDIT_NOTE
#define R QIMG_AUDIT_REJECT

static const struct row {
    enum finding_id finding;
    uint8_t actions[3]; /* by preset */
} rows[] = {
#define AUDIT(finding, upload, import, host) { FINDING_##finding, { upload, import, host } },
#include "audit_kinds.def"
#undef AUDIT
};

static const char *const presets[] = { "upload", "import", "host" };

static struct qimg_audit_kind kinds[ARRAY_COUNT(rows) + 1];
static pthread_once_t kinds_made = PTHREAD_ONCE_INIT;

static void make_kinds(void)
{
    const struct qimg_finding_kind *all = qimg_finding_kinds();

    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        kinds[i] = (struct qimg_audit_kind){
            .id = all[rows[i].finding].id,
            .meaning = all[rows[i].finding].meaning,
            .upload = (enum qimg_audit_action)rows[i].actions[0],
            .import = (enum qimg_audit_action)rows[i].actions[1],
            .host = (enum qimg_audit_action)rows[i].actions[2],
        };
}

const struct qimg_audit_kind *qimg_audit_kinds(void)
{
    pthread_once(&kinds_made, make_kinds);
    return kinds;
}

int audit_finding(const char *id)
{
    const struct qimg_audit_kind *known = qimg_audit_kinds();

    for (size_t i = 0; known[i].id; i++)
        if (strcmp(known[i].id, id) == 0)
            return (int)rows[i].finding;
    return -EINVAL;
}

bool audit_lists(const char *list, char separator, const char *word)
{
    const size_t len = strlen(word);

    while (list && *list) {
        const char *end = strchrnul(list, separator);
        if ((size_t)(end - list) == len && memcmp(list, word, len) == 0)
            return true;
        list = *end ? end + 1 : end;
    }
    return false;
}

/* --- presets -------------------------------------------------------------------------------- */

static int preset_number(const char *name, struct qimg_error *err)
{
    for (size_t i = 0; i < ARRAY_COUNT(presets); i++)
        if (strcmp(presets[i], name) == 0)
            return (int)i;
    return qimg_fail(err, EINVAL, "unknown audit policy '%s' (there are upload, import and host)",
                     name);
}

int qimg_audit_policy_new(const char *preset, struct qimg_audit_policy **out,
                          struct qimg_error *err)
{
    const int number = preset_number(preset ? preset : "upload", err);

    TRY(number);
    struct qimg_audit_policy *policy = calloc(1, sizeof(*policy));
    if (policy)
        policy->formats = strdup("raw,qcow2");
    if (!policy || !policy->formats) {
        free(policy);
        return qimg_fail_memory(err);
    }
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        policy->actions[rows[i].finding] = rows[i].actions[number];
    policy->max_size = 64 * TiB;
    policy->max_tables = 1 * GiB;
    policy->max_expansion = 100;
    *out = policy;
    return 0;
}

void qimg_audit_policy_free(struct qimg_audit_policy *policy)
{
    if (!policy)
        return;
    free(policy->expect);
    free(policy->formats);
    free(policy->directories);
    free(policy);
}

int qimg_audit_policy_action(const struct qimg_audit_policy *policy, const char *id)
{
    const int finding = audit_finding(id);

    return finding < 0 ? finding : policy->actions[finding];
}

/* --- one setting ---------------------------------------------------------------------------- */

static int set_actions(struct qimg_audit_policy *policy, uint8_t action, const char *ids,
                       struct qimg_error *err)
{
    while (*ids) {
        const char *end = strchrnul(ids, ',');
        AUTO_FREE char *id = strndup(ids, (size_t)(end - ids));
        if (!id)
            return qimg_fail_memory(err);
        const int finding = audit_finding(id);
        if (finding < 0)
            return qimg_fail(err, EINVAL, "no audit tells '%s'", id);
        policy->actions[finding] = action;
        ids = *end ? end + 1 : end;
    }
    return 0;
}

static int set_text(char **slot, const char *value, struct qimg_error *err)
{
    char *copy = *value ? strdup(value) : NULL;

    if (*value && !copy)
        return qimg_fail_memory(err);
    free(*slot);
    *slot = copy;
    return 0;
}

static int set_limit(const char *key, uint64_t *slot, const char *value, struct qimg_error *err)
{
    if (size_parse(value, slot) < 0)
        return qimg_fail(err, EINVAL, "%s expects a number, not '%s'", key, value);
    return 0;
}

int qimg_audit_policy_set(struct qimg_audit_policy *policy, const char *key, const char *value,
                          struct qimg_error *err)
{
    static const char *const actions[] = { "allow", "note", "reject" };
    const struct {
        const char *key;
        uint64_t *slot;
    } limits[] = {
        { "max-size", &policy->max_size },           { "max-file-size", &policy->max_file_size },
        { "max-tables", &policy->max_tables },       { "max-read", &policy->max_read },
        { "max-expansion", &policy->max_expansion },
    };
    for (size_t i = 0; i < ARRAY_COUNT(actions); i++)
        if (strcmp(actions[i], key) == 0)
            return set_actions(policy, (uint8_t)i, value, err);
    for (size_t i = 0; i < ARRAY_COUNT(limits); i++)
        if (strcmp(limits[i].key, key) == 0)
            return set_limit(key, limits[i].slot, value, err);
    if (strcmp(key, "expect") == 0)
        return set_text(&policy->expect, value, err);
    if (strcmp(key, "formats") == 0)
        return set_text(&policy->formats, value, err);
    if (strcmp(key, "directories") == 0)
        return set_text(&policy->directories, value, err);
    return qimg_fail(err, EINVAL, "an audit policy has no '%s'", key);
}

/* --- JSON ----------------------------------------------------------------------------------- */

static void cleanup_json(json_t *const *json)
{
    json_decref(*json);
}

/* A list of strings as one text. */
static int join(const char *key, const json_t *list, struct str *out, struct qimg_error *err)
{
    const char *separator = strcmp(key, "directories") == 0 ? ":" : ",";

    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *word = json_string_value(json_array_get(list, i));
        if (!word)
            return qimg_fail(err, EINVAL, "'%s' expects a list of strings", key);
        str_printf(out, "%s%s", i ? separator : "", word);
    }
    return 0;
}

static int set_member(struct qimg_audit_policy *policy, const char *key, const json_t *value,
                      struct qimg_error *err)
{
    struct str text = { 0 };
    int rc = 0;

    if (json_is_string(value))
        str_puts(&text, json_string_value(value));
    else if (json_is_integer(value) && json_integer_value(value) >= 0)
        str_printf(&text, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_array(value))
        rc = join(key, value, &text, err);
    else
        rc = qimg_fail(err, EINVAL, "'%s' expects text, a number or a list", key);
    AUTO_FREE char *words = str_take(&text);
    if (rc == 0 && !words)
        rc = qimg_fail_memory(err);
    return rc < 0 ? rc : qimg_audit_policy_set(policy, key, words, err);
}

static int set_members(struct qimg_audit_policy *policy, json_t *root, struct qimg_error *err)
{
    const char *key;
    json_t *value;

    json_object_foreach(root, key, value)
    {
        if (strcmp(key, "policy") != 0)
            TRY(set_member(policy, key, value, err));
    }
    return 0;
}

int qimg_audit_policy_parse(const char *json, size_t len, struct qimg_audit_policy **out,
                            struct qimg_error *err)
{
    json_error_t why;
    AUTO(cleanup_json) json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &why);
    struct qimg_audit_policy *policy;

    if (!root)
        return qimg_fail(err, EINVAL, "line %d: %s", why.line, why.text);
    if (!json_is_object(root))
        return qimg_fail(err, EINVAL, "a policy is an object");
    const json_t *preset = json_object_get(root, "policy");
    if (preset && !json_is_string(preset))
        return qimg_fail(err, EINVAL, "'policy' expects the name of a preset");
    TRY(qimg_audit_policy_new(json_string_value(preset), &policy, err));
    const int rc = set_members(policy, root, err);
    if (rc < 0) {
        qimg_audit_policy_free(policy);
        return rc;
    }
    *out = policy;
    return 0;
}
