/* Tables of octets and names for the parsers. Cython has no constant tables: its module variables are filled by code that runs
   at import, which a fuzz target that never starts Python would not run. unused: each parser that includes this uses its part. */
#ifndef ISOCHRONE_OCTETS_H
#define ISOCHRONE_OCTETS_H

#define TABLE static const unsigned char __attribute__((unused))

#define ALPHA \
    ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e', ['f'] = 'f', ['g'] = 'g', ['h'] = 'h', ['i'] = 'i', \
    ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm', ['n'] = 'n', ['o'] = 'o', ['p'] = 'p', ['q'] = 'q', ['r'] = 'r', \
    ['s'] = 's', ['t'] = 't', ['u'] = 'u', ['v'] = 'v', ['w'] = 'w', ['x'] = 'x', ['y'] = 'y', ['z'] = 'z', \
    ['A'] = 'a', ['B'] = 'b', ['C'] = 'c', ['D'] = 'd', ['E'] = 'e', ['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', \
    ['J'] = 'j', ['K'] = 'k', ['L'] = 'l', ['M'] = 'm', ['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', \
    ['S'] = 's', ['T'] = 't', ['U'] = 'u', ['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z'
#define DIGIT \
    ['0'] = '0', ['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6', ['7'] = '7', ['8'] = '8', ['9'] = '9'
#define TCHAR_BUT_UNDERSCORE \
    ALPHA, DIGIT, ['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+', \
    ['-'] = '-', ['.'] = '.', ['^'] = '^', ['`'] = '`', ['|'] = '|', ['~'] = '~'

/* Octets of a token (RFC 9110 5.6.2) in lower case; 0 for the others. */
TABLE token_octets[256] = {TCHAR_BUT_UNDERSCORE, ['_'] = '_'};

/* Octets of a field name in a request or a trailer: CGI and its heirs read `-` and `_` as one, so Content_Length would be a second length. */
TABLE name_octets[256] = {TCHAR_BUT_UNDERSCORE};

/* Octets of a host that is no IPv6 address, in lower case. RFC 3986 also has %XX and !$&'()*+,;= : no name in DNS uses them, and a
   comma or a slash in a Host is how lists and paths are smuggled. */
TABLE host_octets[256] = {ALPHA, DIGIT, ['-'] = '-', ['.'] = '.', ['_'] = '_', ['~'] = '~'};

/* Value of a hexadecimal digit, plus one; 0 for the others. */
TABLE hex_octets[256] = {
    ['0'] = 1, ['1'] = 2, ['2'] = 3, ['3'] = 4, ['4'] = 5, ['5'] = 6, ['6'] = 7, ['7'] = 8, ['8'] = 9, ['9'] = 10,
    ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16, ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16};

/* Octets of a request target: 1 plain, 2 to be looked at, 0 never legal. Browsers send " < > [ ] ^ ` { | } raw here or there, so
   those that RFC 3986 leaves out are plain too; # never travels, and octets from 0x80 on are percent-encoded by all. */
TABLE target_octets[256] = {
    [0x21 ... 0x22] = 1, [0x24] = 1, ['%'] = 2, [0x26 ... 0x3e] = 1, ['?'] = 2, [0x40 ... 0x5b] = 1, ['\\'] = 2, [0x5d ... 0x7e] = 1};


/* Names of fields in the order of enum FieldId, each with its length; x-isochrone- is a prefix. */
struct known_field { unsigned char length; char name[20]; };
static const struct known_field known_fields[] __attribute__((unused)) = {
    {0, ""}, {4, "host"}, {14, "content-length"}, {17, "transfer-encoding"}, {10, "connection"}, {10, "keep-alive"},
    {16, "proxy-connection"}, {2, "te"}, {7, "trailer"}, {7, "upgrade"}, {6, "expect"}, {12, "max-forwards"}, {15, "x-forwarded-for"},
    {17, "x-forwarded-proto"}, {16, "x-forwarded-host"}, {9, "forwarded"}, {9, "x-real-ip"}, {12, "x-request-id"}, {11, "traceparent"},
    {10, "tracestate"}, {3, "via"}, {12, "x-isochrone-"}, {18, "proxy-authenticate"}, {19, "proxy-authorization"}, {11, "retry-after"},
    {4, "date"}, {6, "server"}, {6, "cookie"}, {10, "early-data"}};

/* Where a name may stand among them, by (23 length + 55 last octet + first octet) mod 64: no two of the names above meet. */
TABLE field_slots[64] = {
    [1] = 22, [2] = 6, [4] = 5, [7] = 23, [8] = 17, [9] = 9, [13] = 19, [15] = 12, [18] = 20, [19] = 8, [20] = 14, [21] = 7, [23] = 16,
    [24] = 13, [27] = 10, [28] = 3, [29] = 18, [32] = 27, [34] = 28, [43] = 4, [45] = 24, [48] = 1, [49] = 15, [51] = 25, [54] = 11,
    [59] = 26, [61] = 2};

/* The IANA registry of methods, first those of enum Method in its order (METHOD_OTHER has no name); without PRI, which opens HTTP/2,
   and `*`. */
static const char *const registered_methods[] __attribute__((unused)) = {
    "", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN",
    "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE",
    "ORDERPATCH", "PROPFIND", "PROPPATCH", "QUERY", "REBIND", "REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE",
    "UPDATEREDIRECTREF", "VERSION-CONTROL", 0};

/* Fields that must not come in a trailer: framing, routing, authentication, control, the form of the content (RFC 9110 6.5.1), and
   what says who the client is. A name that ends in `*` stands for all that begin so. */
static const char *const barred_trailers[] __attribute__((unused)) = {
    "age", "authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range", "content-type",
    "cookie", "date", "expect", "expires", "forwarded", "host", "if-*", "keep-alive", "location", "max-forwards", "pragma", "proxy-*",
    "range", "retry-after", "set-cookie", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "vary", "via",
    "www-authenticate", "x-forwarded-*", "x-isochrone-*", "x-real-ip", "x-request-id", 0};

#endif
