/* See answer.h. The rules are those of beonss/core/zones/zone.py, the bytes those of beonss/wire/dns.py. */

#include "answer.h"

#include <string.h>

enum { HEADER = 12, MOST_LABELS = 127, CLASSIC_LIMIT = 512, POINTER_REACH = 0x4000 };
enum { TYPE_A = 1, TYPE_CNAME = 5, TYPE_SOA = 6, TYPE_NS = 2, TYPE_PTR = 12, TYPE_AAAA = 28, TYPE_OPT = 41 };
enum { TYPE_TKEY = 249, TYPE_ANY = 255, CLASS_IN = 1 };
enum { CODE_NOERROR = 0, CODE_NXDOMAIN = 3, CODE_REFUSED = 5 };
enum { OPTION_NSID = 3, OPTION_REASON = 15, REASON_NOT_AUTHORITATIVE = 20 };

struct query {
    const uint8_t *packet;
    size_t end; /* of the question */
    unsigned type;
    size_t labels;
    uint16_t at[MOST_LABELS]; /* where each label's length stands in the packet */
    uint8_t name[NAMES_WIRE]; /* in lower case, the root included */
    size_t length;            /* of the name */
    int edns, wants_identity;
    size_t limit; /* bytes of the reply */
};

static unsigned read16(const uint8_t *bytes)
{
    return (unsigned)bytes[0] << 8 | bytes[1];
}

/* --- reading ---------------------------------------------------------------------------------------------------- */

/* Read the options of an OPT record; return 0 when they are cut short. */
static int read_options(struct query *query, const uint8_t *data, size_t size)
{
    while (size > 0) {
        if (size < 4)
            return 0;
        size_t length = 4 + (size_t)read16(&data[2]);
        if (length > size)
            return 0;
        if (read16(data) == OPTION_NSID)
            query->wants_identity = 1;
        data += length;
        size -= length;
    }
    return 1;
}

/* Read a query; return 0 when it is none of the plain ones. */
static int read_query(struct query *query, const uint8_t *packet, size_t size, int tcp)
{
    size_t at = HEADER, labels = 0;

    /* QR and OPCODE 0; one question, no answer, no authority, at most OPT. */
    if (size < HEADER + 5 || (packet[2] & 0xF8) != 0 || read16(&packet[4]) != 1 || read16(&packet[6]) != 0 ||
        read16(&packet[8]) != 0 || read16(&packet[10]) > 1)
        return 0;
    while (packet[at] != 0) {
        size_t length = packet[at];
        if (length > NAMES_LABEL || labels == MOST_LABELS)
            return 0;
        query->at[labels++] = (uint16_t)at;
        at += length + 1;
        /* Type and class follow at least the root; with it the name has no more than 255 bytes. */
        if (at + 5 > size || at + 1 - HEADER > NAMES_WIRE)
            return 0;
    }
    at++;
    query->packet = packet;
    query->labels = labels;
    query->length = at - HEADER;
    for (size_t i = 0; i < query->length; i++) {
        /* Lengths are below 64 and so are no letters. */
        uint8_t byte = packet[HEADER + i];
        query->name[i] = (uint8_t)(byte + ((uint8_t)(byte - 'A') < 26 ? 32 : 0));
    }
    query->type = read16(&packet[at]);
    if (read16(&packet[at + 2]) != CLASS_IN)
        return 0;
    at += 4;
    query->end = at;
    query->edns = query->wants_identity = 0;
    query->limit = CLASSIC_LIMIT;
    if (packet[11] == 1) {
        /* The root, type OPT, payload size, extended code, version 0, flags, length. */
        if (at + 11 > size || packet[at] != 0 || read16(&packet[at + 1]) != TYPE_OPT || packet[at + 6] != 0)
            return 0;
        unsigned payload = read16(&packet[at + 3]);
        size_t length = read16(&packet[at + 9]);
        query->edns = 1;
        if (payload > query->limit)
            query->limit = payload < ANSWER_ROOM ? payload : ANSWER_ROOM;
        at += 11;
        if (at + length != size || !read_options(query, &packet[at], length))
            return 0;
    } else if (at != size) {
        return 0;
    }
    if (tcp)
        query->limit = ANSWER_ROOM;
    /* Questions about messages and zones (RFC 6895 section 3.1): OPT, and TKEY up to MAILA. */
    return query->type != TYPE_OPT && (query->type < TYPE_TKEY || query->type >= TYPE_ANY);
}

/* --- writing ---------------------------------------------------------------------------------------------------- */

struct known_name { /* a label before the zone, and where in the message the two stand */
    const uint8_t *label;
    size_t length;
    unsigned offset;
};

struct message {
    const struct names_image *image;
    uint8_t *bytes;
    size_t at;
    int full; /* it would be longer than there is room */
    uint32_t serial; /* of the zone that answers */
    unsigned answers, authorities;
    /* Where each end of the zone's name stands in the very case of the zone; 0 where it does not. */
    unsigned zone_at[MOST_LABELS];
    struct known_name known[4];
    size_t knowns;
};

static uint8_t *taken(struct message *message, size_t size)
{
    if (size > ANSWER_ROOM - message->at) {
        message->full = 1;
        return NULL;
    }
    uint8_t *start = &message->bytes[message->at];
    message->at += size;
    return start;
}

static void write16(uint8_t *target, unsigned value)
{
    target[0] = (uint8_t)(value >> 8);
    target[1] = (uint8_t)value;
}

static void write32(uint8_t *target, uint32_t value)
{
    write16(target, value >> 16);
    write16(target + 2, value & 0xFFFF);
}

static void write_pointer(struct message *message, unsigned offset)
{
    uint8_t *target = taken(message, 2);
    if (target != NULL)
        write16(target, 0xC000 | offset);
}

static void write_bytes(struct message *message, const uint8_t *bytes, size_t size)
{
    uint8_t *target = taken(message, size);
    if (target != NULL)
        memcpy(target, bytes, size);
}

/* Note where the question already has the zone's name, or a name right below it, in the case we would write. */
static void note_question(struct message *message, const struct query *query)
{
    const struct names_zone *zone = message->image->zone;
    const uint8_t *name = &message->image->text[zone->at];
    uint16_t starts[MOST_LABELS];
    size_t labels = 0;
    for (const uint8_t *at = name; *at != 0 && labels < MOST_LABELS; at += *at + 1)
        starts[labels++] = (uint16_t)(at - name);
    memset(message->zone_at, 0, labels * sizeof message->zone_at[0]);
    message->knowns = 0;
    for (size_t i = 1; i <= labels; i++) {
        if (i > query->labels)
            return;
        unsigned offset = query->at[query->labels - i];
        const uint8_t *ours = &name[starts[labels - i]], *theirs = &query->packet[offset];
        if (*ours != *theirs || memcmp(ours, theirs, *ours + 1u) != 0)
            return;
        message->zone_at[labels - i] = offset;
    }
    if (query->labels > labels) {
        unsigned offset = query->at[query->labels - labels - 1];
        message->known[0].label = &query->packet[offset + 1];
        message->known[0].length = query->packet[offset];
        message->known[0].offset = offset;
        message->knowns = 1;
    }
}

/* Write the zone's name, or a label before it, pointing to where its end already stands. */
static void write_name(struct message *message, const uint8_t *label, size_t length)
{
    const struct names_zone *zone = message->image->zone;
    if (length > 0) {
        for (size_t i = 0; i < message->knowns; i++) {
            const struct known_name *known = &message->known[i];
            if (known->length == length && memcmp(known->label, label, length) == 0) {
                write_pointer(message, known->offset);
                return;
            }
        }
        if (message->knowns < sizeof message->known / sizeof message->known[0] && message->at < POINTER_REACH) {
            struct known_name *known = &message->known[message->knowns++];
            known->label = label;
            known->length = length;
            known->offset = (unsigned)message->at;
        }
        uint8_t size = (uint8_t)length;
        write_bytes(message, &size, 1);
        write_bytes(message, label, length);
    }
    const uint8_t *at = &message->image->text[zone->at];
    for (size_t i = 0; *at != 0; i++, at += *at + 1) {
        if (message->zone_at[i] != 0) {
            write_pointer(message, message->zone_at[i]);
            return;
        }
        if (message->at < POINTER_REACH)
            message->zone_at[i] = (unsigned)message->at;
        write_bytes(message, at, *at + 1u);
    }
    write_bytes(message, at, 1);
}

/* Write a record up to its data; the owner is a pointer. Return where its data's length stands. */
static uint8_t *write_record(struct message *message, unsigned owner, unsigned type, uint32_t ttl)
{
    uint8_t *target = taken(message, 12);
    if (target == NULL)
        return NULL;
    write16(target, 0xC000 | owner);
    write16(target + 2, type);
    write16(target + 4, CLASS_IN);
    write32(target + 6, ttl);
    write16(target + 10, 0);
    return target + 10;
}

static void end_record(struct message *message, uint8_t *length)
{
    if (length != NULL)
        write16(length, (unsigned)(&message->bytes[message->at] - length) - 2);
}

static void write_soa(struct message *message, unsigned owner, uint32_t ttl)
{
    const struct names_zone *zone = message->image->zone;
    uint8_t *length = write_record(message, owner, TYPE_SOA, ttl);
    write_name(message, &message->image->text[zone->primary], zone->primary_length);
    write_name(message, (const uint8_t *)"hostmaster", 10);
    uint8_t *target = taken(message, 20);
    if (target != NULL) {
        write32(target, message->serial);
        write32(target + 4, zone->refresh);
        write32(target + 8, zone->retry);
        write32(target + 12, zone->expire);
        write32(target + 16, zone->minimum);
    }
    end_record(message, length);
}

static void write_denial(struct message *message, unsigned apex)
{
    message->authorities = 1;
    write_soa(message, apex, message->image->zone->denial);
}

static void write_address(struct message *message, unsigned owner, const struct names_address *address)
{
    size_t size = address->family == 4 ? 4 : 16;
    uint8_t *length =
        write_record(message, owner, address->family == 4 ? TYPE_A : TYPE_AAAA, message->image->zone->ttl);
    uint8_t *target = taken(message, size);
    if (target == NULL)
        return;
    write16(length, (unsigned)size);
    names_number number = address->number;
    if (size == 16) {
        write32(target, (uint32_t)(number >> 96));
        write32(target + 4, (uint32_t)(number >> 64));
        write32(target + 8, (uint32_t)(number >> 32));
        target += 12;
    }
    write32(target, (uint32_t)number);
    message->answers++;
}

/* --- answering -------------------------------------------------------------------------------------------------- */

enum { ASK_PYTHON = -1 };

static int at_apex(struct message *message, const struct query *query)
{
    if (query->type == TYPE_SOA || query->type == TYPE_ANY) {
        message->answers = 1;
        write_soa(message, HEADER, message->image->zone->ttl);
        return CODE_NOERROR;
    }
    if (query->type == TYPE_NS)
        return ASK_PYTHON;
    write_denial(message, HEADER);
    return CODE_NOERROR;
}

static int is_label(const uint8_t *label, const char *text, size_t length)
{
    return label[0] == length && memcmp(label + 1, text, length) == 0;
}

static int forward(struct message *message, const struct query *query)
{
    const struct names_image *image = message->image;
    const uint8_t *label = query->name;
    struct names_address addresses[NAMES_ADDRESSES];
    struct names_found found;
    uint8_t canonical[NAMES_LABEL];
    unsigned owner = HEADER, apex = query->at[query->labels - image->zone->labels];

    if (query->labels != image->zone->labels + 1) {
        write_denial(message, apex);
        return CODE_NXDOMAIN;
    }
    if (is_label(label, "self", 4) || is_label(label, "master", 6))
        return ASK_PYTHON;
    if (!names_find(image, label + 1, label[0], &found)) {
        write_denial(message, apex);
        return CODE_NXDOMAIN;
    }
    if (!found.canonical) {
        size_t length = names_label(image, &found, canonical);
        if (length == 0)
            return ASK_PYTHON;
        if (length != label[0] || memcmp(canonical, label + 1, length) != 0) {
            message->answers = 1;
            uint8_t *size = write_record(message, HEADER, TYPE_CNAME, image->zone->ttl);
            owner = (unsigned)message->at;
            write_name(message, canonical, length);
            end_record(message, size);
            if (query->type == TYPE_CNAME || query->type == TYPE_ANY)
                return CODE_NOERROR;
        }
    }
    size_t count = names_addresses(image, &found, addresses);
    uint32_t family = 0;
    unsigned before = message->answers;
    if (query->type == TYPE_A)
        family = 4;
    else if (query->type == TYPE_AAAA)
        family = 6;
    else if (query->type == TYPE_ANY && count > 0)
        family = addresses[0].family;
    for (size_t i = 0; i < count; i++)
        if (addresses[i].family == family)
            write_address(message, owner, &addresses[i]);
    if (message->answers == before && !message->full) {
        /* The name of the target, where there is an alias, is still in use: canonical lives until here. */
        write_denial(message, apex);
    }
    return CODE_NOERROR;
}

/* Read a canonical octet or nibble; return 0 for any other label. */
static int read_reverse_label(const uint8_t *label, uint32_t family, unsigned *value)
{
    const uint8_t *digits = label + 1;
    size_t length = label[0];
    if (family == 6) {
        if (length != 1)
            return 0;
        if (digits[0] >= '0' && digits[0] <= '9')
            *value = digits[0] - '0';
        else if (digits[0] >= 'a' && digits[0] <= 'f')
            *value = digits[0] - 'a' + 10u;
        else
            return 0;
        return 1;
    }
    if (length > 3 || (length > 1 && digits[0] == '0'))
        return 0;
    *value = 0;
    for (size_t i = 0; i < length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return 0;
        *value = *value * 10 + (digits[i] - '0');
    }
    return *value <= 255;
}

static int reverse(struct message *message, const struct query *query, const struct names_apex *apex)
{
    const struct names_image *image = message->image;
    unsigned bits = apex->family == 4 ? 32 : 128, size = apex->family == 4 ? 8 : 4;
    unsigned owner = query->at[query->labels - apex->labels];
    size_t labels = query->labels - 2; /* without in-addr.arpa or ip6.arpa */
    names_number low = 0, high;
    struct names_found found;
    uint8_t canonical[NAMES_LABEL];

    int sound = labels * size <= bits;
    for (size_t i = labels; sound && i-- > 0;) {
        unsigned value = 0;
        sound = read_reverse_label(&query->name[query->at[i] - HEADER], apex->family, &value);
        low = low << size | value;
    }
    if (!sound) {
        write_denial(message, owner);
        return CODE_NXDOMAIN;
    }
    unsigned rest = bits - (unsigned)labels * size;
    if (rest > 0) {
        if (rest == 128) {
            low = 0;
            high = ~(names_number)0;
        } else {
            low <<= rest;
            high = low | (((names_number)1 << rest) - 1);
        }
        int occupied = names_occupied(image, apex->family, low, high);
        write_denial(message, owner);
        return occupied ? CODE_NOERROR : CODE_NXDOMAIN;
    }
    if (!names_find_address(image, apex->family, low, &found)) {
        write_denial(message, owner);
        return CODE_NXDOMAIN;
    }
    if (query->type != TYPE_PTR && query->type != TYPE_ANY) {
        write_denial(message, owner);
        return CODE_NOERROR;
    }
    size_t length = names_label(image, &found, canonical);
    if (length == 0)
        return ASK_PYTHON;
    message->answers = 1;
    uint8_t *target = write_record(message, HEADER, TYPE_PTR, image->zone->ttl);
    write_name(message, canonical, length);
    end_record(message, target);
    return CODE_NOERROR;
}

/* Say whether static records have a part in the answer of the zone at an apex with so many labels. */
static int is_asked(const struct names_image *image, const struct query *query, size_t labels, uint32_t flags)
{
    if (query->labels == labels)
        return (flags & NAMES_ASK_APEX) != 0;
    if ((flags & NAMES_ASK_BELOW) != 0)
        return 1;
    size_t start = query->at[query->labels - labels - 1] - HEADER;
    return names_is_asked(image, &query->name[start], query->length - start);
}

/* Answer from the closest zone of ours; return the code, CODE_REFUSED where the name is in none of them. */
static int answer(struct message *message, const struct query *query)
{
    const struct names_image *image = message->image;
    const struct names_zone *zone = image->zone;
    if (query->labels >= zone->labels) {
        size_t start = query->at[query->labels - zone->labels] - HEADER;
        if (query->length - start == zone->length &&
            memcmp(&query->name[start], &image->text[zone->at], zone->length) == 0) {
            message->serial = zone->serial;
            if (is_asked(image, query, zone->labels, zone->flags))
                return ASK_PYTHON;
            return query->labels == zone->labels ? at_apex(message, query) : forward(message, query);
        }
    }
    for (uint32_t i = 0; i < image->counts[NAMES_DEPTHS]; i++) {
        uint32_t depth = image->depths[i];
        if (depth > query->labels || depth == 0)
            continue;
        size_t start = query->at[query->labels - depth] - HEADER;
        const struct names_apex *apex = names_find_apex(image, &query->name[start], query->length - start);
        if (apex == NULL)
            continue;
        if (apex->family == 0 || apex->labels != depth || is_asked(image, query, apex->labels, apex->flags))
            return ASK_PYTHON;
        message->serial = apex->serial;
        return query->labels == apex->labels ? at_apex(message, query) : reverse(message, query, apex);
    }
    return CODE_REFUSED;
}

size_t answer_query(const struct answer_zones *zones, const uint8_t *packet, size_t size, int tcp, int recursion,
                    uint8_t reply[ANSWER_ROOM])
{
    struct query query;
    struct message message;

    if (!read_query(&query, packet, size, tcp))
        return 0;
    message.image = &zones->image;
    message.bytes = reply;
    message.at = query.end;
    message.full = 0;
    message.answers = message.authorities = 0;
    memcpy(&reply[HEADER], &packet[HEADER], query.end - HEADER);
    note_question(&message, &query);
    int code = answer(&message, &query);
    if (code == ASK_PYTHON || (code == CODE_REFUSED && recursion && (packet[2] & 0x01) != 0))
        return 0;
    if (query.edns) {
        /* Our payload size stands in place of a class; version 0 and no flags, whatever the client had set. */
        static const uint8_t OPT[11] = {0, 0, TYPE_OPT, ANSWER_ROOM >> 8, ANSWER_ROOM & 0xFF, 0, 0, 0, 0, 0, 0};
        write_bytes(&message, OPT, sizeof OPT);
        size_t start = message.at;
        if (query.wants_identity && zones->identity_length > 0) {
            uint8_t option[4];
            write16(option, OPTION_NSID);
            write16(option + 2, (unsigned)zones->identity_length);
            write_bytes(&message, option, sizeof option);
            write_bytes(&message, zones->identity, zones->identity_length);
        }
        if (code == CODE_REFUSED) {
            uint8_t option[6];
            write16(option, OPTION_REASON);
            write16(option + 2, 2);
            write16(option + 4, REASON_NOT_AUTHORITATIVE);
            write_bytes(&message, option, sizeof option);
        }
        if (!message.full)
            write16(&reply[start - 2], (unsigned)(message.at - start));
    }
    /* What does not fit is cut short in a way of its own. */
    if (message.full || message.at > query.limit)
        return 0;
    reply[0] = packet[0];
    reply[1] = packet[1];
    /* QR, AA except for names elsewhere, RD as asked. */
    reply[2] = (uint8_t)(0x80 | (code == CODE_REFUSED ? 0 : 0x04) | (packet[2] & 0x01));
    reply[3] = (uint8_t)(code | (recursion ? 0x80 : 0));
    write16(&reply[4], 1);
    write16(&reply[6], message.answers);
    write16(&reply[8], message.authorities);
    write16(&reply[10], query.edns ? 1 : 0);
    return message.at;
}
