/* SPDX-License-Identifier: Apache-2.0
 *
 * Walking chains, and remembering what was seen. Invariants: (1) an image is looked at once for
 * each name and format that it is reached by; (2) what an image refers to is followed at most
 * once; (3) a walk ends at the first file that is in its chain already, by identity; (4) depth is
 * the chain's, not the image's: it is asked for at each step.
 */
#include "survey.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "remote.h"
#include "str.h"

/* --- the survey ------------------------------------------------------------------------------ */

int qimg_survey_new(struct qimg_context *context, struct qimg_survey **out, struct qimg_error *err)
{
    struct qimg_survey *survey = calloc(1, sizeof(*survey));
    if (!survey)
        return qimg_fail_memory(err);
    survey->context = context;
    survey->directory = getcwd(NULL, 0);
    if (!survey->directory) {
        free(survey);
        return qimg_fail_errno(err, errno, "Could not find the current directory");
    }
    *out = survey;
    return 0;
}

static void release_reference(struct qimg_chain_reference *reference)
{
    free(reference->recorded);
    free(reference->recorded_format);
}

static void free_surveyed(struct surveyed *s)
{
    free(s->image.problem);
    free(s->image.name);
    free(s->image.path);
    free(s->image.absolute);
    free(s->image.format);
    qimg_info_release(&s->image.info);
    release_reference(&s->image.backing);
    release_reference(&s->image.data_file);
    location_release(&s->place);
    free(s);
}

void qimg_survey_free(struct qimg_survey *survey)
{
    if (!survey)
        return;
    for (size_t i = 0; i < survey->images.count; i++)
        free_surveyed(survey->images.items[i]);
    for (size_t i = 0; i < survey->keys.count; i++)
        free(survey->keys.items[i]);
    surveyed_vec_release(&survey->images);
    text_vec_release(&survey->keys);
    table_release(&survey->by_key);
    writers_free(survey->writers);
    free(survey->directory);
    free(survey);
}

/* --- one image ------------------------------------------------------------------------------- */

/* What makes two looks the same: the place, what it is taken for, and on whose word. */
static char *key_of(const struct qimg_survey *survey, const struct look *look)
{
    const struct location *place = look->place;
    const char *format = look->format ? look->format : "";
    const char role = look->data_file ? 'd' : look->reference ? 'b' : 't';
    if (!place || place->embedded)
        return str_format("%c%d:%s:%s", role, look->probe, format,
                          place ? place->display : look->name);
    AUTO_FREE char *absolute = survey_absolute(survey, place->path);
    return absolute ? str_format("%c%d:%s:%s", role, look->probe, format, absolute) : NULL;
}

/* The same for what was found: a base that is also asked for by name is one image. NULL: no
 * memory. */
static char *alias_of(const struct surveyed *s)
{
    return str_format("=%s:%s", s->image.format,
                      s->place.embedded ? s->image.name : s->image.absolute);
}

/* Keeps @key, which leads to @s from now on. */
static int add_key(struct qimg_survey *survey, char *key, struct surveyed *s,
                   struct qimg_error *err)
{
    if (key && text_vec_reserve(&survey->keys, 1) == 0 && table_add(&survey->by_key, key, s) == 0) {
        survey->keys.items[survey->keys.count++] = key;
        return 0;
    }
    free(key);
    return qimg_fail_memory(err);
}

/* Files are the same by identity, whatever they are called. */
static int find_same(struct qimg_survey *survey, struct surveyed *s, struct qimg_error *err)
{
    const struct qimg_chain_file *file = &s->image.file;
    s->same = s;
    if (!file->there)
        return 0;
    char *key = str_format("#%" PRIx64 ":%" PRIx64, file->device, file->inode);
    struct surveyed *known = key ? table_find(&survey->by_key, key) : NULL;
    if (!known)
        return add_key(survey, key, s, err);
    free(key);
    s->same = known;
    return 0;
}

/* Keeps *@s, or the same image where it is there already. */
static int add_image(struct qimg_survey *survey, struct surveyed **s, struct qimg_error *err)
{
    char *alias = NULL;
    if ((*s)->image.state == QIMG_CHAIN_READ && (*s)->image.format) {
        alias = alias_of(*s);
        struct surveyed *known = alias ? table_find(&survey->by_key, alias) : NULL;
        if (known) {
            free(alias);
            free_surveyed(*s);
            *s = known;
            return 0;
        }
    }
    if (surveyed_vec_push(&survey->images, *s) < 0) {
        free(alias);
        free_surveyed(*s);
        return qimg_fail_memory(err);
    }
    if (alias)
        TRY(add_key(survey, alias, *s, err));
    return find_same(survey, *s, err);
}

/* The image at @look, from memory where it was seen already. Takes over *@place in any case. */
static int get_image(struct qimg_survey *survey, struct look *look, struct location *place,
                     struct surveyed **out, struct qimg_error *err)
{
    AUTO_FREE char *key = key_of(survey, look);
    struct surveyed *s = key ? table_find(&survey->by_key, key) : NULL;
    if (!key || s) {
        location_release(place);
        *out = s;
        return key ? 0 : qimg_fail_memory(err);
    }
    s = calloc(1, sizeof(*s));
    if (!s) {
        location_release(place);
        return qimg_fail_memory(err);
    }
    s->place = *place;
    *place = (struct location){ 0 };
    if (look->place)
        look->place = &s->place;
    const int rc = survey_look(survey, look, s, err);
    if (rc < 0) {
        free_surveyed(s);
        return rc;
    }
    TRY(add_image(survey, &s, err));
    TRY(add_key(survey, TAKE(key), s, err));
    *out = s;
    return 0;
}

/* --- references ------------------------------------------------------------------------------ */

static int replace_text(char **slot, const char *text, struct qimg_error *err)
{
    char *copy = text ? strdup(text) : NULL;
    if (text && !copy)
        return qimg_fail_memory(err);
    free(*slot);
    *slot = copy;
    return 0;
}

/* What the user's own json: name says of the backing file takes the place of what is recorded. */
static int apply_user(struct surveyed *s, struct qimg_error *err)
{
    struct qimg_chain_reference *backing = &s->image.backing;
    if (!s->place.no_backing && !s->place.backing)
        return 0;
    backing->by_user = true;
    TRY(replace_text(&backing->recorded, s->place.backing, err));
    return replace_text(&backing->recorded_format, s->place.backing_format, err);
}

/* Where @reference leads; look->problem is set (into @why) where it leads to no local file. */
static int find_place(const struct qimg_survey *survey, const struct surveyed *holder,
                      struct qimg_chain_reference *reference, struct location *place,
                      struct look *look, struct qimg_error *why)
{
    struct qimg_context *context = survey->context;
    const char *recorded = reference->recorded;
    reference->json = resolve_has_protocol(recorded);
    reference->relative = !reference->json && *recorded != '/';
    const int rc = reference->by_user
                       ? resolve_name(context, recorded, false, place, why)
                       : resolve_recorded(context, holder->image.name, recorded, place, why);
    if (rc == -ENOMEM)
        return rc;
    if (rc == 0) {
        look->place = place;
        return 0;
    }
    look->state = remote_is(recorded) ? QIMG_CHAIN_REMOTE : QIMG_CHAIN_NOWHERE;
    look->problem = look->state == QIMG_CHAIN_REMOTE ? "it is on the network" : why->text;
    return 0;
}

/* Asks the gate; a refusal becomes the look's problem, in @why. */
static int ask_gate(const struct qimg_survey *survey, const struct gate_request *request,
                    struct look *look, struct qimg_error *why)
{
    const struct qimg_gate_options *gate = &survey->context->gate;
    bool probe;
    if (look->problem)
        return 0;
    look->probe = !look->data_file && (gate->policy == QIMG_POLICY_QEMU || gate->allow_probe);
    const bool guess = !look->data_file && !look->format && !look->probe;
    if (guess && gate->policy == QIMG_POLICY_STRICT)
        return 0; /* looked at, but not believed */
    const int rc = gate_ask(survey->context, request, &probe, why);
    if (rc == -EPERM) {
        look->state = QIMG_CHAIN_REFUSED;
        look->problem = why->text;
        return 0;
    }
    return rc;
}

/* The image that @holder's backing reference leads to, taken for a @format (NULL = as recorded). */
static int find_backing(struct qimg_survey *survey, struct surveyed *holder, const char *format,
                        struct surveyed **out, struct qimg_error *err)
{
    struct qimg_chain_reference *reference = &holder->image.backing;
    struct location place = { 0 };
    struct look look = { .name = reference->recorded, .probe = reference->by_user };
    struct qimg_error why;
    qimg_error_clear(&why);
    if (find_place(survey, holder, reference, &place, &look, &why) < 0)
        return qimg_fail_memory(err);
    look.format = format ? format : reference->recorded_format;
    if (!look.format)
        look.format = place.format;
    AUTO_FREE char *named = look.format ? strdup(look.format) : NULL; /* may be place's */
    if (look.format && !named) {
        location_release(&place);
        return qimg_fail_memory(err);
    }
    look.format = named;
    const struct gate_request request = { .role = GATE_BACKING,
                                          .holder = holder->image.name,
                                          .recorded = reference->recorded,
                                          .recorded_format = look.format,
                                          .path = place.path,
                                          .json = place.embedded };
    if (!reference->by_user) {
        look.reference = &request;
        if (ask_gate(survey, &request, &look, &why) < 0) {
            location_release(&place);
            return qimg_fail_memory(err);
        }
    }
    return get_image(survey, &look, &place, out, err);
}

static int find_data_file(struct qimg_survey *survey, struct surveyed *holder,
                          struct qimg_error *err)
{
    struct qimg_chain_reference *reference = &holder->image.data_file;
    const bool as_qemu = survey->context->gate.policy == QIMG_POLICY_QEMU;
    if (holder->place.data_file) {
        reference->by_user = true;
        TRY(replace_text(&reference->recorded, holder->place.data_file, err));
    }
    if (*reference->recorded == '\0')
        return 0;
    reference->relative = *reference->recorded != '/';
    const bool join = !as_qemu && !reference->by_user;
    struct location place = { 0 };
    place.path =
        join ? resolve_join(holder->place.path, reference->recorded) : strdup(reference->recorded);
    place.display = place.path ? strdup(place.path) : NULL;
    struct look look = { .place = &place, .data_file = true };
    const struct gate_request request = { .role = GATE_DATA_FILE,
                                          .holder = holder->image.name,
                                          .recorded = reference->recorded,
                                          .path = place.path };
    struct qimg_error why;
    int rc = place.display ? 0 : -ENOMEM;
    if (rc == 0 && !reference->by_user) {
        look.reference = &request;
        rc = ask_gate(survey, &request, &look, &why);
    }
    if (rc < 0) {
        location_release(&place);
        return qimg_fail_memory(err);
    }
    struct surveyed *found = NULL;
    TRY(get_image(survey, &look, &place, &found, err));
    reference->image = &found->image;
    return 0;
}

/* Makes s->image's references final; that to its backing file only where one may go @deeper. */
static int follow(struct qimg_survey *survey, struct surveyed *s, bool deeper,
                  struct qimg_error *err)
{
    struct qimg_chain_reference *backing = &s->image.backing;
    if (!s->followed) {
        TRY(apply_user(s, err));
        if (s->image.data_file.recorded && !survey->context->gate.no_data_file)
            TRY(find_data_file(survey, s, err));
        s->followed = true;
    }
    if (deeper && backing->recorded && !backing->image && !survey->context->gate.no_backing) {
        struct surveyed *below = NULL;
        TRY(find_backing(survey, s, NULL, &below, err));
        backing->image = &below->image;
        below->overlays++;
    }
    return 0;
}

/* --- chains ---------------------------------------------------------------------------------- */

static int push(struct qimg_chain *chain, struct qimg_chain_image *image, struct qimg_error *err)
{
    if ((chain->count & (chain->count - 1)) == 0) {
        const size_t room = chain->count ? chain->count * 2 : 1;
        struct qimg_chain_image **grown =
            reallocarray(chain->images, room, sizeof(struct qimg_chain_image *));
        if (!grown)
            return qimg_fail_memory(err);
        chain->images = grown;
    }
    chain->images[chain->count++] = image;
    return 0;
}

/* Was the file of @next met on this walk? Notes that it was. */
static bool is_loop(const struct qimg_survey *survey, struct qimg_chain *chain,
                    const struct qimg_chain_image *next)
{
    struct surveyed *file = surveyed_of(next)->same;
    if (file->walk == survey->walks) {
        chain->end = QIMG_CHAIN_LOOP;
        chain->loop_to = file->at;
        return true;
    }
    file->walk = survey->walks;
    file->at = chain->count;
    return false;
}

static const struct qimg_chain_assumption *assumed(const struct qimg_chain_options *options,
                                                   size_t index)
{
    for (size_t i = 0; i < options->assumption_count; i++)
        if (options->assumptions[i].index == index)
            return &options->assumptions[i];
    return NULL;
}

static bool may_go_deeper(const struct qimg_survey *survey, const struct qimg_chain *chain)
{
    return chain->count < survey->context->gate.max_depth;
}

/* Does the chain end with its last image? */
static bool ends(const struct qimg_survey *survey, const struct qimg_chain_options *options,
                 struct qimg_chain *chain)
{
    const struct qimg_chain_image *last = chain->images[chain->count - 1];
    const struct qimg_chain_assumption *told = assumed(options, chain->count - 1);
    if ((told && told->end) || (last->state == QIMG_CHAIN_READ && !last->backing.recorded))
        chain->end = QIMG_CHAIN_COMPLETE;
    else if (last->state == QIMG_CHAIN_REMOTE)
        chain->end = QIMG_CHAIN_NOT_VISITED;
    else if (last->state != QIMG_CHAIN_READ)
        chain->end = QIMG_CHAIN_BROKEN;
    else if (!may_go_deeper(survey, chain) && !survey->context->gate.no_backing)
        chain->end = QIMG_CHAIN_TOO_DEEP;
    else if (!last->backing.image)
        chain->end = QIMG_CHAIN_NOT_VISITED;
    else
        return false;
    return true;
}

/* The image below the last one of the chain, as far as the user does not know better. */
static int next_image(struct qimg_survey *survey, const struct qimg_chain_options *options,
                      const struct qimg_chain *chain, struct qimg_chain_image **out,
                      struct qimg_error *err)
{
    struct qimg_chain_image *last = chain->images[chain->count - 1];
    const struct qimg_chain_assumption *told = assumed(options, chain->count);
    *out = last->backing.image;
    if (!told || !told->format)
        return 0;
    struct surveyed *below = NULL;
    TRY(find_backing(survey, surveyed_of(last), told->format, &below, err));
    *out = &below->image;
    return 0;
}

static int walk(struct qimg_survey *survey, const struct qimg_chain_options *options,
                struct qimg_chain *chain, struct qimg_error *err)
{
    for (;;) {
        struct qimg_chain_image *next;
        TRY(follow(survey, surveyed_of(chain->images[chain->count - 1]),
                   may_go_deeper(survey, chain), err));
        if (ends(survey, options, chain))
            return 0;
        TRY(next_image(survey, options, chain, &next, err));
        if (is_loop(survey, chain, next))
            return 0;
        TRY(push(chain, next, err));
    }
}

int qimg_survey_chain(struct qimg_survey *survey, const char *name,
                      const struct qimg_chain_options *options, struct qimg_chain *out,
                      struct qimg_error *err)
{
    static const struct qimg_chain_options defaults;
    struct qimg_chain chain = { 0 };
    struct location place = { 0 };
    struct surveyed *top = NULL;
    if (!options)
        options = &defaults;
    TRY(resolve_name(survey->context, name, options->image_opts, &place, err));
    struct look look = { .place = &place, .format = options->format, .probe = true };
    TRY(get_image(survey, &look, &place, &top, err));
    survey->walks++;
    (void)is_loop(survey, &chain, &top->image);
    int rc = push(&chain, &top->image, err);
    if (rc == 0)
        rc = walk(survey, options, &chain, err);
    if (rc < 0) {
        qimg_chain_release(&chain);
        return rc;
    }
    *out = chain;
    return 0;
}

void qimg_chain_release(struct qimg_chain *chain)
{
    free(chain->images);
    *chain = (struct qimg_chain){ 0 };
}

/* --- names ----------------------------------------------------------------------------------- */

const char *qimg_chain_state_name(enum qimg_chain_state state)
{
    static const char *const names[] = {
        [QIMG_CHAIN_READ] = "read",
        [QIMG_CHAIN_UNREAD] = "unread",
        [QIMG_CHAIN_UNSUPPORTED] = "unsupported",
        [QIMG_CHAIN_DAMAGED] = "damaged",
        [QIMG_CHAIN_MISSING] = "missing",
        [QIMG_CHAIN_UNREADABLE] = "unreadable",
        [QIMG_CHAIN_REFUSED] = "refused",
        [QIMG_CHAIN_REMOTE] = "remote",
        [QIMG_CHAIN_NOWHERE] = "nowhere",
    };
    return names[state];
}

const char *qimg_chain_end_name(enum qimg_chain_end end)
{
    static const char *const names[] = {
        [QIMG_CHAIN_COMPLETE] = "complete",
        [QIMG_CHAIN_BROKEN] = "broken",
        [QIMG_CHAIN_LOOP] = "loop",
        [QIMG_CHAIN_TOO_DEEP] = "too-deep",
        [QIMG_CHAIN_NOT_VISITED] = "not-visited",
    };
    return names[end];
}
