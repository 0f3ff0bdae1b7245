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


/* Names of fields, each with its length and its number in enum FieldId. Below the first lines of it, what only a hop may say: who the
   client is (ADDRESS), and what else was asked of the hop or found out by it (OF_HOP). The same list stands in docs/operations.md. */
#define ADDRESS 16
#define OF_HOP 17
struct known_field { unsigned char length, id; char name[28]; };
static const struct known_field known_fields[] __attribute__((unused)) = {
    {0, 0, ""}, {4, 1, "host"}, {14, 2, "content-length"}, {17, 3, "transfer-encoding"}, {10, 4, "connection"}, {10, 5, "keep-alive"},
    {16, 6, "proxy-connection"}, {2, 7, "te"}, {7, 8, "trailer"}, {7, 9, "upgrade"}, {6, 10, "expect"}, {12, 11, "max-forwards"},
    {15, 12, "x-forwarded-for"}, {17, 13, "x-forwarded-proto"}, {16, 14, "x-forwarded-host"}, {9, 15, "forwarded"},
    {12, 18, "x-request-id"}, {11, 19, "traceparent"}, {10, 20, "tracestate"}, {3, 21, "via"}, {18, 23, "proxy-authenticate"},
    {19, 24, "proxy-authorization"}, {11, 25, "retry-after"}, {4, 26, "date"}, {6, 27, "server"}, {6, 28, "cookie"},
    {10, 29, "early-data"}, {13, 30, "cache-control"}, {16, ADDRESS, "cf-connecting-ip"}, {18, ADDRESS, "cf-connecting-ipv6"},
    {9, ADDRESS, "client-ip"}, {16, ADDRESS, "do-connecting-ip"}, {16, ADDRESS, "fastly-client-ip"}, {13, ADDRESS, "fly-client-ip"},
    {13, ADDRESS, "forwarded-for"}, {15, ADDRESS, "proxy-client-ip"}, {14, ADDRESS, "true-client-ip"},
    {18, ADDRESS, "wl-proxy-client-ip"}, {19, ADDRESS, "x-appengine-user-ip"}, {16, ADDRESS, "x-azure-clientip"},
    {16, ADDRESS, "x-azure-socketip"}, {11, ADDRESS, "x-client-ip"}, {19, ADDRESS, "x-cluster-client-ip"},
    {24, ADDRESS, "x-envoy-external-address"}, {13, ADDRESS, "x-forward-for"}, {11, ADDRESS, "x-forwarded"},
    {25, ADDRESS, "x-nf-client-connection-ip"}, {24, ADDRESS, "x-original-forwarded-for"}, {16, ADDRESS, "x-originating-ip"},
    {14, ADDRESS, "x-proxyuser-ip"}, {9, ADDRESS, "x-real-ip"}, {13, ADDRESS, "x-remote-addr"}, {11, ADDRESS, "x-remote-ip"},
    {22, ADDRESS, "x-vercel-forwarded-for"}, {12, OF_HOP, "cf-ipcountry"}, {14, OF_HOP, "cf-pseudo-ipv4"}, {10, OF_HOP, "cf-visitor"},
    {11, OF_HOP, "client-cert"}, {17, OF_HOP, "client-cert-chain"}, {10, OF_HOP, "fastly-ssl"}, {15, OF_HOP, "front-end-https"},
    {5, OF_HOP, "proxy"}, {15, OF_HOP, "ssl-client-cert"}, {20, OF_HOP, "ssl-client-issuer-dn"}, {21, OF_HOP, "ssl-client-subject-dn"},
    {17, OF_HOP, "ssl-client-verify"}, {9, OF_HOP, "x-arr-ssl"}, {13, OF_HOP, "x-client-cert"}, {6, OF_HOP, "x-host"},
    {20, OF_HOP, "x-http-host-override"}, {11, OF_HOP, "x-real-port"}, {13, OF_HOP, "x-rewrite-url"}, {8, OF_HOP, "x-scheme"},
    {12, OF_HOP, "x-url-scheme"}, {0, 0, ""}};

/* Where a name may stand among them, by (60 length + 31 last octet + 100 first octet + 15 the one in the middle) mod 256: no two meet. */
TABLE field_slots[256] = {
    [1] = 65, [7] = 23, [12] = 24, [14] = 5, [17] = 37, [19] = 72, [20] = 61, [24] = 57, [25] = 46, [27] = 43, [28] = 55, [35] = 4,
    [39] = 71, [40] = 35, [41] = 13, [45] = 31, [46] = 26, [47] = 2, [58] = 29, [59] = 50, [65] = 9, [68] = 6, [75] = 20, [79] = 36,
    [86] = 38, [89] = 1, [91] = 59, [103] = 62, [104] = 3, [105] = 44, [106] = 67, [124] = 32, [128] = 17, [132] = 53, [133] = 52,
    [134] = 51, [135] = 42, [136] = 14, [137] = 45, [141] = 22, [142] = 34, [143] = 56, [145] = 63, [147] = 49, [148] = 25, [151] = 69,
    [153] = 27, [155] = 33, [158] = 21, [160] = 18, [164] = 54, [168] = 73, [178] = 19, [183] = 16, [187] = 60, [190] = 66, [191] = 15,
    [201] = 28, [202] = 30, [205] = 64, [207] = 47, [211] = 10, [212] = 70, [213] = 68, [223] = 48, [224] = 12, [229] = 58, [233] = 8,
    [237] = 40, [238] = 7, [239] = 41, [253] = 39, [255] = 11};

/* What longer names begin with, after "x-", and what they all are. */
static const struct known_field known_prefixes[] __attribute__((unused)) = {
    {10, OF_HOP, "forwarded-"}, {9, OF_HOP, "original-"}, {6, OF_HOP, "envoy-"}, {4, OF_HOP, "ssl-"}, {10, 22, "isochrone-"}, {0, 0, ""}};
#undef ADDRESS
#undef OF_HOP

/* The IANA registry of methods, first those of enum Method in its order (METHOD_OTHER has no name); without PRI, which opens HTTP/2,
   and `*`. */
static const char *const registered_methods[] __attribute__((unused)) = {
    "", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "ACL", "BASELINE-CONTROL", "BIND", "CHECKIN",
    "CHECKOUT", "COPY", "LABEL", "LINK", "LOCK", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MKREDIRECTREF", "MKWORKSPACE", "MOVE",
    "ORDERPATCH", "PROPFIND", "PROPPATCH", "QUERY", "REBIND", "REPORT", "SEARCH", "UNBIND", "UNCHECKOUT", "UNLINK", "UNLOCK", "UPDATE",
    "UPDATEREDIRECTREF", "VERSION-CONTROL", 0};

/* Fields that must not come in a trailer: framing, routing, authentication, control, the form of the content (RFC 9110 6.5.1).
   Nor may what only a hop may say, see above. A name that ends in `*` stands for all that begin so. */
static const char *const barred_trailers[] __attribute__((unused)) = {
    "age", "authorization", "cache-control", "connection", "content-encoding", "content-length", "content-range", "content-type",
    "cookie", "date", "expect", "expires", "host", "if-*", "keep-alive", "location", "max-forwards", "pragma", "proxy-*",
    "range", "retry-after", "set-cookie", "te", "traceparent", "tracestate", "trailer", "transfer-encoding", "upgrade", "vary", "via",
    "www-authenticate", "x-isochrone-*", "x-request-id", 0};

#endif
