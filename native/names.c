/* See names.h. Written for being read beside beonss/core/{naming,nameindex,numbering,radix,ranges}.py, which is the
 * specification; tests/net/dns/test_native.py holds the two against each other. */

#include "names.h"

#include <string.h>

struct header {
    char magic[8];
    uint32_t order, version;
    uint64_t size;
    struct names_table sections[NAMES_SECTIONS];
};

static const char MAGIC[8] = {'B', 'E', 'O', 'N', 'A', 'M', 'E', 'S'};
enum { ORDER = 0x01020304 };

static const uint32_t RECORD_SIZES[NAMES_SECTIONS] = {
    [NAMES_TEXT] = 1,
    [NAMES_SPANS] = sizeof(struct names_span),
    [NAMES_SETS] = sizeof(struct names_set),
    [NAMES_DIMS] = sizeof(struct names_dim),
    [NAMES_BLOCKS] = sizeof(struct names_block),
    [NAMES_RULES] = sizeof(struct names_rule),
    [NAMES_PARTS] = sizeof(struct names_part),
    [NAMES_PATTERNS] = sizeof(struct names_pattern),
    [NAMES_TERMS] = sizeof(struct names_term),
    [NAMES_FORMS] = sizeof(struct names_form),
    [NAMES_INTERFACES] = sizeof(struct names_interface),
    [NAMES_DIGITS] = sizeof(struct names_digit),
    [NAMES_SPANS4] = sizeof(struct names_address_span),
    [NAMES_SPANS6] = sizeof(struct names_address_span),
    [NAMES_SHAPE_BUCKETS] = sizeof(uint32_t),
    [NAMES_SHAPES] = sizeof(struct names_shape),
    [NAMES_LAYOUTS] = sizeof(struct names_layout),
    [NAMES_CUTS] = sizeof(struct names_cut),
    [NAMES_GROUP_BUCKETS] = sizeof(uint32_t),
    [NAMES_GROUPS] = sizeof(struct names_group),
    [NAMES_FIELDS] = sizeof(struct names_field),
    [NAMES_PIECES] = sizeof(struct names_piece),
    [NAMES_HOST_BUCKETS] = sizeof(uint32_t),
    [NAMES_HOST_NAMES] = sizeof(struct names_host_name),
    [NAMES_HOSTS] = sizeof(struct names_host),
    [NAMES_HOST_ADDRESSES] = sizeof(struct names_host_address),
    [NAMES_HOST_SPANS4] = sizeof(struct names_host_span),
    [NAMES_HOST_SPANS6] = sizeof(struct names_host_span),
    [NAMES_APEX_BUCKETS] = sizeof(uint32_t),
    [NAMES_APEXES] = sizeof(struct names_apex),
    [NAMES_DEPTHS] = sizeof(uint32_t),
    [NAMES_ASKED_BUCKETS] = sizeof(uint32_t),
    [NAMES_ASKED] = sizeof(struct names_asked),
    [NAMES_ZONE] = sizeof(struct names_zone),
};

/* Coordinates and shown numbers have at most this; larger ones are in no set (beonss.core.names.ranges.LIMIT). */
static const uint64_t TOO_LARGE = 1000000000000000000u;

static names_number joined(struct names_wide wide)
{
    return (names_number)wide.high << 64 | wide.low;
}

/* --- opening ---------------------------------------------------------------------------------------------------- */

static int fits(uint32_t first, uint32_t count, uint32_t total)
{
    return first <= total && count <= total - first;
}

/* Say whether count more references keep within the records there are: no record belongs to two, so that checking
 * costs no more than the image is long. */
static int adds_up(uint64_t *total, uint32_t count, uint32_t records)
{
    *total += count;
    return *total <= records;
}

static int sets_are_sound(const struct names_image *image)
{
    uint64_t spans = 0;
    for (uint32_t i = 0; i < image->counts[NAMES_SETS]; i++) {
        const struct names_set *set = &image->sets[i];
        if (set->count == 0 || !fits(set->first, set->count, image->counts[NAMES_SPANS]) ||
            !adds_up(&spans, set->count, image->counts[NAMES_SPANS]))
            return 0;
        uint64_t before = 0, floor = 0;
        for (uint32_t j = 0; j < set->count; j++) {
            const struct names_span *span = &image->spans[set->first + j];
            if (span->before != before || span->low < floor || span->high < span->low || span->high >= TOO_LARGE)
                return 0;
            before += span->high - span->low + 1;
            floor = span->high + 1;
        }
        if (set->size != before)
            return 0;
    }
    return 1;
}

static int rules_are_sound(const struct names_image *image)
{
    for (uint32_t i = 0; i < image->counts[NAMES_DIMS]; i++) {
        const struct names_dim *dim = &image->dims[i];
        if (dim->set >= image->counts[NAMES_SETS] || dim->slot >= NAMES_SLOTS || dim->stride == 0)
            return 0;
    }
    for (uint32_t i = 0; i < image->counts[NAMES_BLOCKS]; i++) {
        const struct names_block *block = &image->blocks[i];
        if (!fits(block->first_dim, block->dims, image->counts[NAMES_DIMS]) || block->dims > NAMES_SLOTS)
            return 0;
    }
    uint64_t total = 0;
    for (uint32_t i = 0; i < image->counts[NAMES_RULES]; i++) {
        const struct names_rule *rule = &image->rules[i];
        if (rule->blocks == 0 || !fits(rule->first_block, rule->blocks, image->counts[NAMES_BLOCKS]) ||
            !adds_up(&total, rule->blocks, image->counts[NAMES_BLOCKS]))
            return 0;
        const struct names_block *blocks = &image->blocks[rule->first_block];
        if (blocks[0].first != 0)
            return 0;
        for (uint32_t j = 1; j < rule->blocks; j++)
            if (blocks[j].first <= blocks[j - 1].first)
                return 0;
    }
    for (uint32_t i = 0; i < image->counts[NAMES_INTERFACES]; i++) {
        const struct names_interface *interface = &image->interfaces[i];
        if (interface->rule >= image->counts[NAMES_RULES] || interface->pattern >= image->counts[NAMES_PATTERNS] ||
            !fits(interface->first_form, interface->forms, image->counts[NAMES_FORMS]) ||
            interface->forms > NAMES_ADDRESSES)
            return 0;
    }
    return 1;
}

static int patterns_are_sound(const struct names_image *image)
{
    for (uint32_t i = 0; i < image->counts[NAMES_PARTS]; i++) {
        const struct names_part *part = &image->parts[i];
        int is_text = part->kind == NAMES_PART_TEXT && fits(part->at, part->length, image->counts[NAMES_TEXT]);
        int is_field = part->kind == NAMES_PART_FIELD && part->at < NAMES_SLOTS;
        if ((!is_text && !is_field) || part->length > NAMES_LABEL)
            return 0;
    }
    for (uint32_t i = 0; i < image->counts[NAMES_PATTERNS]; i++) {
        const struct names_pattern *pattern = &image->patterns[i];
        if (!fits(pattern->first_part, pattern->parts, image->counts[NAMES_PARTS]) ||
            pattern->parts > 2 * NAMES_LABEL)
            return 0;
    }
    for (uint32_t i = 0; i < image->counts[NAMES_TERMS]; i++)
        if (image->terms[i].slot >= NAMES_SLOTS)
            return 0;
    for (uint32_t i = 0; i < image->counts[NAMES_FORMS]; i++) {
        const struct names_form *form = &image->forms[i];
        if ((form->family != 4 && form->family != 6) ||
            !fits(form->first_term, form->terms, image->counts[NAMES_TERMS]) || form->terms > NAMES_SLOTS)
            return 0;
    }
    return 1;
}

static int address_spans_are_sound(const struct names_image *image)
{
    for (uint32_t i = 0; i < image->counts[NAMES_DIGITS]; i++) {
        const struct names_digit *digit = &image->digits[i];
        if (digit->set >= image->counts[NAMES_SETS] || joined(digit->weight) == 0)
            return 0;
    }
    for (int family = 0; family < 2; family++) {
        const struct names_address_span *spans = image->address_spans[family];
        uint32_t count = image->counts[NAMES_SPANS4 + family];
        for (uint32_t i = 0; i < count; i++) {
            if (spans[i].interface >= image->counts[NAMES_INTERFACES] ||
                !fits(spans[i].first_digit, spans[i].digits, image->counts[NAMES_DIGITS]) ||
                spans[i].digits > NAMES_SLOTS || joined(spans[i].reach) < joined(spans[i].high) ||
                joined(spans[i].high) < joined(spans[i].low))
                return 0;
            if (i > 0 && (joined(spans[i].low) < joined(spans[i - 1].low) ||
                          joined(spans[i].reach) < joined(spans[i - 1].reach)))
                return 0;
        }
    }
    return 1;
}

/* Return how many of a layout's cuts are fields; -1 if they do not fit to labels with so many digits. */
static int layout_fields(const struct names_image *image, const struct names_layout *layout, uint32_t digits)
{
    int fields = 0;
    for (uint32_t i = 0; i < layout->cuts; i++) {
        const struct names_cut *cut = &image->cuts[layout->first_cut + i];
        if (cut->start > cut->end || cut->end > digits || cut->is_field > 1)
            return -1;
        /* Literal digits are put together where a label has room for all of its digits. */
        if (i > 0 && cut->start < cut[-1].end)
            return -1;
        fields += (int)cut->is_field;
    }
    return fields <= NAMES_SLOTS ? fields : -1;
}

static int shapes_are_sound(const struct names_image *image)
{
    uint64_t all_layouts = 0, all_cuts = 0;
    for (uint32_t i = 0; i < image->counts[NAMES_LAYOUTS]; i++) {
        const struct names_layout *layout = &image->layouts[i];
        if (!fits(layout->first_cut, layout->cuts, image->counts[NAMES_CUTS]) || layout->cuts > 2 * NAMES_LABEL ||
            !adds_up(&all_cuts, layout->cuts, image->counts[NAMES_CUTS]))
            return 0;
    }
    for (uint32_t i = 0; i < image->counts[NAMES_SHAPES]; i++) {
        const struct names_shape *shape = &image->shapes[i];
        if (!fits(shape->key, shape->length, image->counts[NAMES_TEXT]) || shape->length > NAMES_LABEL ||
            !fits(shape->first_layout, shape->layouts, image->counts[NAMES_LAYOUTS]) ||
            !adds_up(&all_layouts, shape->layouts, image->counts[NAMES_LAYOUTS]))
            return 0;
        /* How many digits a label of this shape has: what its cuts may refer to. */
        uint32_t digits = 0;
        for (uint32_t j = 0; j < shape->length; j++)
            if (image->text[shape->key + j] >= 128)
                digits += image->text[shape->key + j] - 128u;
        for (uint32_t j = 0; j < shape->layouts; j++)
            if (digits > NAMES_LABEL || layout_fields(image, &image->layouts[shape->first_layout + j], digits) < 0)
                return 0;
    }
    return 1;
}

static int groups_are_sound(const struct names_image *image)
{
    uint64_t all_pieces = 0;
    for (uint32_t i = 0; i < image->counts[NAMES_FIELDS]; i++)
        if (image->fields[i].set >= image->counts[NAMES_SETS])
            return 0;
    for (uint32_t i = 0; i < image->counts[NAMES_GROUPS]; i++) {
        const struct names_group *group = &image->groups[i];
        if (group->layout >= image->counts[NAMES_LAYOUTS] || group->length > NAMES_LABEL ||
            !fits(group->literals, group->length, image->counts[NAMES_TEXT]) ||
            !fits(group->first_piece, group->pieces, image->counts[NAMES_PIECES]) ||
            !adds_up(&all_pieces, group->pieces, image->counts[NAMES_PIECES]))
            return 0;
        int fields = layout_fields(image, &image->layouts[group->layout], NAMES_LABEL);
        const struct names_piece *pieces = &image->pieces[group->first_piece];
        for (uint32_t j = 0; j < group->pieces; j++) {
            if (pieces[j].interface >= image->counts[NAMES_INTERFACES] || fields < 0 ||
                pieces[j].fields != (uint32_t)fields ||
                !fits(pieces[j].first_field, pieces[j].fields, image->counts[NAMES_FIELDS]) ||
                pieces[j].reach < pieces[j].high)
                return 0;
            if (j > 0 && (pieces[j].low < pieces[j - 1].low || pieces[j].reach < pieces[j - 1].reach))
                return 0;
        }
    }
    return 1;
}

static int hosts_are_sound(const struct names_image *image)
{
    for (uint32_t i = 0; i < image->counts[NAMES_HOST_NAMES]; i++) {
        const struct names_host_name *name = &image->host_names[i];
        if (!fits(name->at, name->length, image->counts[NAMES_TEXT]) || name->host >= image->counts[NAMES_HOSTS])
            return 0;
    }
    for (uint32_t i = 0; i < image->counts[NAMES_HOSTS]; i++) {
        const struct names_host *host = &image->hosts[i];
        if (!fits(host->at, host->length, image->counts[NAMES_TEXT]) || host->length == 0 ||
            host->length > NAMES_LABEL ||
            !fits(host->first_address, host->addresses, image->counts[NAMES_HOST_ADDRESSES]) ||
            host->addresses > NAMES_ADDRESSES)
            return 0;
    }
    for (uint32_t i = 0; i < image->counts[NAMES_HOST_ADDRESSES]; i++)
        if (image->host_addresses[i].family != 4 && image->host_addresses[i].family != 6)
            return 0;
    for (int family = 0; family < 2; family++) {
        const struct names_host_span *spans = image->host_spans[family];
        for (uint32_t i = 0; i < image->counts[NAMES_HOST_SPANS4 + family]; i++) {
            if (spans[i].host >= image->counts[NAMES_HOSTS])
                return 0;
            if (i > 0 && joined(spans[i].address) <= joined(spans[i - 1].address))
                return 0;
        }
    }
    return 1;
}

/* A wire name: labels of 1..63 bytes, as many as it says, and the root at its very end. */
static int is_wire_name(const uint8_t *name, uint32_t length, uint32_t labels)
{
    uint32_t at = 0, count = 0;
    if (length == 0 || length > NAMES_WIRE)
        return 0;
    while (name[at] != 0) {
        if (name[at] > NAMES_LABEL || name[at] >= length - at - 1)
            return 0;
        at += name[at] + 1u;
        count++;
    }
    return at == length - 1 && count == labels;
}

static int zone_is_sound(const struct names_image *image)
{
    if (image->counts[NAMES_ZONE] != 1)
        return 0;
    const struct names_zone *zone = image->zone;
    uint32_t text = image->counts[NAMES_TEXT];
    /* Room for the longest label before it. */
    if (!fits(zone->at, zone->length, text) || zone->length > NAMES_WIRE - NAMES_LABEL - 1 || zone->labels == 0 ||
        !is_wire_name(&image->text[zone->at], zone->length, zone->labels) ||
        !fits(zone->primary, zone->primary_length, text) || zone->primary_length > NAMES_LABEL)
        return 0;
    for (uint32_t i = 0; i < image->counts[NAMES_APEXES]; i++) {
        const struct names_apex *apex = &image->apexes[i];
        if (!fits(apex->at, apex->length, text) || apex->labels == 0 ||
            !is_wire_name(&image->text[apex->at], apex->length, apex->labels) ||
            (apex->family != 0 && apex->family != 4 && apex->family != 6))
            return 0;
        /* The octets or nibbles of a reverse zone stand before in-addr.arpa or ip6.arpa. */
        if (apex->family != 0 && apex->labels < 2)
            return 0;
    }
    for (uint32_t i = 0; i < image->counts[NAMES_ASKED]; i++)
        if (!fits(image->asked[i].at, image->asked[i].length, text))
            return 0;
    if (image->counts[NAMES_DEPTHS] > 2 * NAMES_LABEL)
        return 0;
    for (uint32_t i = 1; i < image->counts[NAMES_DEPTHS]; i++)
        if (image->depths[i] >= image->depths[i - 1])
            return 0;
    return 1;
}

/* Buckets hold 0 or 1 + an index; a power of two of them, at least one empty, so that each search ends. */
static int buckets_are_sound(const uint32_t *buckets, uint32_t count, uint32_t records)
{
    uint32_t empty = 0;
    if (count == 0 || (count & (count - 1)) != 0)
        return 0;
    for (uint32_t i = 0; i < count; i++) {
        if (buckets[i] > records)
            return 0;
        empty += buckets[i] == 0;
    }
    return empty > 0;
}

enum names_status names_open(struct names_image *image, const void *bytes, size_t size)
{
    const uint8_t *base = bytes;
    const void *starts[NAMES_SECTIONS];
    struct header header;

    memset(image, 0, sizeof *image);
    if (size < sizeof header)
        return NAMES_SHORT;
    memcpy(&header, base, sizeof header);
    if (memcmp(header.magic, MAGIC, sizeof MAGIC) != 0 || header.order != ORDER || header.version != NAMES_VERSION)
        return NAMES_FOREIGN;
    if (header.size != size)
        return NAMES_SHORT;
    if ((uintptr_t)bytes % 8 != 0)
        return NAMES_MISALIGNED;
    for (int i = 0; i < NAMES_SECTIONS; i++) {
        const struct names_table *table = &header.sections[i];
        uint64_t length = (uint64_t)table->count * RECORD_SIZES[i];
        if (table->offset % 8 != 0 || table->offset < sizeof header || table->offset > size ||
            length > size - table->offset)
            return NAMES_BROKEN;
        starts[i] = base + table->offset;
        image->counts[i] = table->count;
    }
    image->text = starts[NAMES_TEXT];
    image->spans = starts[NAMES_SPANS];
    image->sets = starts[NAMES_SETS];
    image->dims = starts[NAMES_DIMS];
    image->blocks = starts[NAMES_BLOCKS];
    image->rules = starts[NAMES_RULES];
    image->parts = starts[NAMES_PARTS];
    image->patterns = starts[NAMES_PATTERNS];
    image->terms = starts[NAMES_TERMS];
    image->forms = starts[NAMES_FORMS];
    image->interfaces = starts[NAMES_INTERFACES];
    image->digits = starts[NAMES_DIGITS];
    image->address_spans[0] = starts[NAMES_SPANS4];
    image->address_spans[1] = starts[NAMES_SPANS6];
    image->shape_buckets = starts[NAMES_SHAPE_BUCKETS];
    image->shapes = starts[NAMES_SHAPES];
    image->layouts = starts[NAMES_LAYOUTS];
    image->cuts = starts[NAMES_CUTS];
    image->group_buckets = starts[NAMES_GROUP_BUCKETS];
    image->groups = starts[NAMES_GROUPS];
    image->fields = starts[NAMES_FIELDS];
    image->pieces = starts[NAMES_PIECES];
    image->host_buckets = starts[NAMES_HOST_BUCKETS];
    image->host_names = starts[NAMES_HOST_NAMES];
    image->hosts = starts[NAMES_HOSTS];
    image->host_addresses = starts[NAMES_HOST_ADDRESSES];
    image->host_spans[0] = starts[NAMES_HOST_SPANS4];
    image->host_spans[1] = starts[NAMES_HOST_SPANS6];
    image->apex_buckets = starts[NAMES_APEX_BUCKETS];
    image->apexes = starts[NAMES_APEXES];
    image->depths = starts[NAMES_DEPTHS];
    image->asked_buckets = starts[NAMES_ASKED_BUCKETS];
    image->asked = starts[NAMES_ASKED];
    image->zone = starts[NAMES_ZONE];

    const uint32_t *counts = image->counts;
    if (!sets_are_sound(image) || !rules_are_sound(image) || !patterns_are_sound(image) ||
        !address_spans_are_sound(image) || !shapes_are_sound(image) || !groups_are_sound(image) ||
        !hosts_are_sound(image) || !zone_is_sound(image) ||
        !buckets_are_sound(image->shape_buckets, counts[NAMES_SHAPE_BUCKETS], counts[NAMES_SHAPES]) ||
        !buckets_are_sound(image->group_buckets, counts[NAMES_GROUP_BUCKETS], counts[NAMES_GROUPS]) ||
        !buckets_are_sound(image->host_buckets, counts[NAMES_HOST_BUCKETS], counts[NAMES_HOST_NAMES]) ||
        !buckets_are_sound(image->apex_buckets, counts[NAMES_APEX_BUCKETS], counts[NAMES_APEXES]) ||
        !buckets_are_sound(image->asked_buckets, counts[NAMES_ASKED_BUCKETS], counts[NAMES_ASKED]))
        return NAMES_BROKEN;
    return NAMES_OPEN;
}

const char *names_fault(enum names_status status)
{
    switch (status) {
    case NAMES_OPEN:
        return "it is sound";
    case NAMES_SHORT:
        return "it is not as long as it says";
    case NAMES_FOREIGN:
        return "it is no image of names, or one of another version or byte order";
    case NAMES_MISALIGNED:
        return "it does not begin at a multiple of eight bytes";
    case NAMES_BROKEN:
        break;
    }
    return "its tables do not fit together";
}

/* --- sets of numbers -------------------------------------------------------------------------------------------- */

/* The last of the spans that begins at value or before, or the first. */
static const struct names_span *span_at(const struct names_image *image, const struct names_set *set, uint64_t value)
{
    const struct names_span *spans = &image->spans[set->first];
    uint32_t low = 0, high = set->count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (spans[middle].low <= value)
            low = middle;
        else
            high = middle;
    }
    return &spans[low];
}

/* Set rank to how many numbers of the set are below value; return 0 if value is not in it. */
static int set_rank(const struct names_image *image, uint32_t which, uint64_t value, uint64_t *rank)
{
    const struct names_span *span = span_at(image, &image->sets[which], value);
    if (value < span->low || value > span->high)
        return 0;
    *rank = span->before + (value - span->low);
    return 1;
}

/* Set value to the number of that rank; return 0 outside of the set. */
static int set_at(const struct names_image *image, uint32_t which, uint64_t rank, uint64_t *value)
{
    const struct names_set *set = &image->sets[which];
    const struct names_span *spans = &image->spans[set->first];
    uint32_t low = 0, high = set->count;
    if (rank >= set->size)
        return 0;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (spans[middle].before <= rank)
            low = middle;
        else
            high = middle;
    }
    *value = spans[low].low + (rank - spans[low].before);
    return 1;
}

/* Set found to the least number that is value or more; return 0 if there is none. */
static int set_successor(const struct names_image *image, uint32_t which, uint64_t value, uint64_t *found)
{
    const struct names_set *set = &image->sets[which];
    const struct names_span *span = span_at(image, set, value);
    if (value <= span->low) {
        *found = span->low;
        return 1;
    }
    if (value <= span->high) {
        *found = value;
        return 1;
    }
    if (span + 1 == &image->spans[set->first] + set->count)
        return 0;
    *found = span[1].low;
    return 1;
}

/* --- names ------------------------------------------------------------------------------------------------------ */

/* FNV-1a; beonss/wire/name_image.py has the same. */
static const uint32_t HASH_START = 2166136261u;

static uint32_t hashed(uint32_t hash, const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ bytes[i]) * 16777619u;
    return hash;
}

/* Compute the coordinates of a member of a rule. */
static int set_values(const struct names_image *image, struct names_found *found)
{
    const struct names_rule *rule = &image->rules[image->interfaces[found->interface].rule];
    const struct names_block *blocks = &image->blocks[rule->first_block];
    uint32_t low = 0, high = rule->blocks;
    if (found->index >= rule->size)
        return 0;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (blocks[middle].first <= found->index)
            low = middle;
        else
            high = middle;
    }
    uint64_t rest = found->index - blocks[low].first;
    memset(found->values, 0, sizeof found->values);
    for (uint32_t i = 0; i < blocks[low].dims; i++) {
        const struct names_dim *dim = &image->dims[blocks[low].first_dim + i];
        uint64_t rank = rest;
        if (dim->stride > 1) {
            rank = rest / dim->stride;
            rest %= dim->stride;
        } else {
            rest = 0;
        }
        if (!set_at(image, dim->set, rank, &found->values[dim->slot]))
            return 0;
    }
    found->values[0] = rule->start + found->index;
    return 1;
}

static int find_host(const struct names_image *image, const uint8_t *label, size_t length, struct names_found *found)
{
    uint32_t mask = image->counts[NAMES_HOST_BUCKETS] - 1;
    if (image->counts[NAMES_HOST_NAMES] == 0)
        return 0;
    for (uint32_t at = hashed(HASH_START, label, length) & mask; image->host_buckets[at] != 0; at = (at + 1) & mask) {
        const struct names_host_name *name = &image->host_names[image->host_buckets[at] - 1];
        if (name->length == length && memcmp(&image->text[name->at], label, length) == 0) {
            const struct names_host *host = &image->hosts[name->host];
            found->is_host = 1;
            found->host = name->host;
            found->canonical = host->length == length && memcmp(&image->text[host->at], label, length) == 0;
            return 1;
        }
    }
    return 0;
}

static const struct names_shape *find_shape(const struct names_image *image, const uint8_t *key, size_t length)
{
    uint32_t mask = image->counts[NAMES_SHAPE_BUCKETS] - 1;
    for (uint32_t at = hashed(HASH_START, key, length) & mask; image->shape_buckets[at] != 0; at = (at + 1) & mask) {
        const struct names_shape *shape = &image->shapes[image->shape_buckets[at] - 1];
        if (shape->length == length && memcmp(&image->text[shape->key], key, length) == 0)
            return shape;
    }
    return NULL;
}

/* Return what decimal digits say, TOO_LARGE when that is more than any coordinate has. */
static uint64_t read_number(const uint8_t *digits, uint32_t length)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < length; i++) {
        value = value * 10 + (digits[i] - '0');
        if (value >= TOO_LARGE)
            return TOO_LARGE;
    }
    return value;
}

static int find_in_piece(const struct names_image *image, const struct names_piece *piece, const uint64_t *shown,
                         struct names_found *found)
{
    uint64_t index = piece->first;
    for (uint32_t i = 0; i < piece->fields; i++) {
        const struct names_field *field = &image->fields[piece->first_field + i];
        uint64_t rank;
        if (shown[i] < field->low || shown[i] > field->high ||
            !set_rank(image, field->set, shown[i] - field->offset, &rank))
            return 0;
        index += rank * field->stride;
    }
    found->is_host = 0;
    found->interface = piece->interface;
    found->canonical = piece->canonical;
    found->index = index;
    return set_values(image, found);
}

static const struct names_group *find_group(const struct names_image *image, uint32_t layout, const uint8_t *literals,
                                            size_t length)
{
    uint32_t mask = image->counts[NAMES_GROUP_BUCKETS] - 1;
    uint32_t hash = hashed((HASH_START ^ layout) * 16777619u, literals, length);
    for (uint32_t at = hash & mask; image->group_buckets[at] != 0; at = (at + 1) & mask) {
        const struct names_group *group = &image->groups[image->group_buckets[at] - 1];
        if (group->layout == layout && group->length == length &&
            memcmp(&image->text[group->literals], literals, length) == 0)
            return group;
    }
    return NULL;
}

static int find_in_layout(const struct names_image *image, uint32_t which, const uint8_t *digits,
                          struct names_found *found)
{
    const struct names_layout *layout = &image->layouts[which];
    uint64_t shown[NAMES_SLOTS];
    uint8_t literals[NAMES_LABEL];
    uint32_t count = 0;
    size_t length = 0;
    for (uint32_t i = 0; i < layout->cuts; i++) {
        const struct names_cut *cut = &image->cuts[layout->first_cut + i];
        uint32_t size = cut->end - cut->start;
        if (cut->is_field) {
            shown[count++] = read_number(&digits[cut->start], size);
        } else {
            memcpy(&literals[length], &digits[cut->start], size);
            length += size;
        }
    }
    const struct names_group *group = find_group(image, which, literals, length);
    if (group == NULL)
        return 0;
    uint64_t first = count > 0 ? shown[0] : 0;
    const struct names_piece *pieces = &image->pieces[group->first_piece];
    uint32_t low = 0, high = group->pieces;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (pieces[middle].low <= first)
            low = middle + 1;
        else
            high = middle;
    }
    while (low-- > 0 && pieces[low].reach >= first)
        if (pieces[low].high >= first && pieces[low].fields == count &&
            find_in_piece(image, &pieces[low], shown, found))
            return 1;
    return 0;
}

int names_find(const struct names_image *image, const uint8_t *label, size_t length, struct names_found *found)
{
    uint8_t key[NAMES_LABEL], digits[NAMES_LABEL];
    size_t keyed = 0, digited = 0, run = 0;

    if (length == 0 || length > NAMES_LABEL)
        return 0;
    if (find_host(image, label, length, found))
        return 1;
    for (size_t i = 0; i < length; i++) {
        uint8_t byte = label[i];
        if (byte >= '0' && byte <= '9') {
            digits[digited++] = byte;
            if (run++ == 0)
                keyed++;
            key[keyed - 1] = (uint8_t)(128 + run);
        } else {
            if (byte >= 128)
                return 0;
            run = 0;
            key[keyed++] = byte;
        }
    }
    const struct names_shape *shape = find_shape(image, key, keyed);
    if (shape == NULL)
        return 0;
    for (uint32_t i = 0; i < shape->layouts; i++)
        if (find_in_layout(image, shape->first_layout + i, digits, found))
            return 1;
    return 0;
}

/* --- addresses -------------------------------------------------------------------------------------------------- */

static names_number quotient(names_number number, names_number divisor)
{
    if (number <= UINT64_MAX && divisor <= UINT64_MAX) {
        if (divisor == 1)
            return number;
        return (uint64_t)number / (uint64_t)divisor;
    }
    return number / divisor;
}

/* Find the first of the host addresses that is address or more. */
static uint32_t host_span_from(const struct names_image *image, uint32_t family, names_number address)
{
    const struct names_host_span *spans = image->host_spans[family == 6];
    uint32_t low = 0, high = image->counts[family == 6 ? NAMES_HOST_SPANS6 : NAMES_HOST_SPANS4];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (joined(spans[middle].address) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Return how many of the address spans begin at address or before. */
static uint32_t address_spans_until(const struct names_image *image, uint32_t family, names_number address)
{
    const struct names_address_span *spans = image->address_spans[family == 6];
    uint32_t low = 0, high = image->counts[family == 6 ? NAMES_SPANS6 : NAMES_SPANS4];
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (joined(spans[middle].low) <= address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int find_in_span(const struct names_image *image, const struct names_address_span *span, names_number address,
                        struct names_found *found)
{
    names_number rest = address - joined(span->base);
    uint64_t index = span->first;
    for (uint32_t i = 0; i < span->digits; i++) {
        const struct names_digit *digit = &image->digits[span->first_digit + i];
        const struct names_set *set = &image->sets[digit->set];
        names_number weight = joined(digit->weight), value;
        uint64_t rank;
        if (set->size == 1)
            value = image->spans[set->first].low;
        else
            value = quotient(rest - joined(digit->low), weight);
        if (value > UINT64_MAX || !set_rank(image, digit->set, (uint64_t)value, &rank))
            return 0;
        index += rank * digit->stride;
        rest -= value * weight;
    }
    if (rest != 0)
        return 0;
    found->is_host = 0;
    found->canonical = 1;
    found->interface = span->interface;
    found->index = index;
    return set_values(image, found);
}

int names_find_address(const struct names_image *image, uint32_t family, names_number address,
                       struct names_found *found)
{
    uint32_t at = host_span_from(image, family, address);
    const struct names_host_span *hosts = image->host_spans[family == 6];
    if (at < image->counts[family == 6 ? NAMES_HOST_SPANS6 : NAMES_HOST_SPANS4] &&
        joined(hosts[at].address) == address) {
        found->is_host = 1;
        found->canonical = 1;
        found->host = hosts[at].host;
        return 1;
    }
    const struct names_address_span *spans = image->address_spans[family == 6];
    at = address_spans_until(image, family, address);
    while (at-- > 0 && joined(spans[at].reach) >= address)
        if (joined(spans[at].high) >= address && find_in_span(image, &spans[at], address, found))
            return 1;
    return 0;
}

/* Set found to the least address of a span that is number or more, where number lies in the span. */
static int successor(const struct names_image *image, const struct names_address_span *span, names_number number,
                     names_number *found)
{
    if (number <= joined(span->low)) {
        *found = joined(span->low);
        return 1;
    }
    names_number total = joined(span->base), rest = number - total;
    for (uint32_t i = 0; i < span->digits; i++) {
        const struct names_digit *digit = &image->digits[span->first_digit + i];
        names_number weight = joined(digit->weight), low = joined(digit->low), high = joined(digit->high);
        names_number least = rest > high ? quotient(rest - high - 1, weight) + 1 : 0;
        uint64_t value;
        if (least > UINT64_MAX || !set_successor(image, digit->set, (uint64_t)least, &value))
            return 0;
        names_number part = value * weight;
        total += part;
        if (part >= rest || rest - part <= low) {
            *found = total + low;
            return 1;
        }
        rest -= part;
    }
    *found = total;
    return 1;
}

int names_occupied(const struct names_image *image, uint32_t family, names_number low, names_number high)
{
    uint32_t at = host_span_from(image, family, low);
    if (at < image->counts[family == 6 ? NAMES_HOST_SPANS6 : NAMES_HOST_SPANS4] &&
        joined(image->host_spans[family == 6][at].address) <= high)
        return 1;
    const struct names_address_span *spans = image->address_spans[family == 6];
    at = address_spans_until(image, family, high);
    while (at-- > 0 && joined(spans[at].reach) >= low) {
        names_number following;
        if (joined(spans[at].high) >= low && successor(image, &spans[at], low, &following) && following <= high)
            return 1;
    }
    return 0;
}

/* --- what was found --------------------------------------------------------------------------------------------- */

/* Write a number with at least width digits; return how many bytes it took, 0 if there is no room. */
static size_t write_number(uint8_t *target, size_t room, uint64_t value, size_t width)
{
    uint8_t digits[20];
    size_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    size_t length = count > width ? count : width;
    if (length > room)
        return 0;
    memset(target, '0', length - count);
    for (size_t i = 0; i < count; i++)
        target[length - 1 - i] = digits[i];
    return length;
}

size_t names_label(const struct names_image *image, const struct names_found *found, uint8_t label[NAMES_LABEL])
{
    size_t length = 0;
    if (found->is_host) {
        const struct names_host *host = &image->hosts[found->host];
        memcpy(label, &image->text[host->at], host->length);
        return host->length;
    }
    const struct names_pattern *pattern = &image->patterns[image->interfaces[found->interface].pattern];
    for (uint32_t i = 0; i < pattern->parts; i++) {
        const struct names_part *part = &image->parts[pattern->first_part + i];
        size_t room = NAMES_LABEL - length;
        if (part->kind == NAMES_PART_TEXT) {
            if (part->length > room)
                return 0;
            memcpy(&label[length], &image->text[part->at], part->length);
            length += part->length;
        } else {
            size_t written = write_number(&label[length], room, found->values[part->at] + part->offset, part->length);
            if (written == 0)
                return 0;
            length += written;
        }
    }
    return length;
}

size_t names_addresses(const struct names_image *image, const struct names_found *found,
                       struct names_address addresses[NAMES_ADDRESSES])
{
    if (found->is_host) {
        const struct names_host *host = &image->hosts[found->host];
        for (uint32_t i = 0; i < host->addresses; i++) {
            addresses[i].family = image->host_addresses[host->first_address + i].family;
            addresses[i].number = joined(image->host_addresses[host->first_address + i].address);
        }
        return host->addresses;
    }
    const struct names_interface *interface = &image->interfaces[found->interface];
    for (uint32_t i = 0; i < interface->forms; i++) {
        const struct names_form *form = &image->forms[interface->first_form + i];
        names_number number = joined(form->base);
        for (uint32_t j = 0; j < form->terms; j++) {
            const struct names_term *term = &image->terms[form->first_term + j];
            number += joined(term->weight) * found->values[term->slot];
        }
        addresses[i].family = form->family;
        addresses[i].number = number;
    }
    return interface->forms;
}

const struct names_apex *names_find_apex(const struct names_image *image, const uint8_t *name, size_t length)
{
    uint32_t mask = image->counts[NAMES_APEX_BUCKETS] - 1;
    for (uint32_t at = hashed(HASH_START, name, length) & mask; image->apex_buckets[at] != 0; at = (at + 1) & mask) {
        const struct names_apex *apex = &image->apexes[image->apex_buckets[at] - 1];
        if (apex->length == length && memcmp(&image->text[apex->at], name, length) == 0)
            return apex;
    }
    return NULL;
}

int names_is_asked(const struct names_image *image, const uint8_t *name, size_t length)
{
    uint32_t mask = image->counts[NAMES_ASKED_BUCKETS] - 1;
    if (image->counts[NAMES_ASKED] == 0)
        return 0;
    for (uint32_t at = hashed(HASH_START, name, length) & mask; image->asked_buckets[at] != 0; at = (at + 1) & mask) {
        const struct names_asked *asked = &image->asked[image->asked_buckets[at] - 1];
        if (asked->length == length && memcmp(&image->text[asked->at], name, length) == 0)
            return 1;
    }
    return 0;
}
