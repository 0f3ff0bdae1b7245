"""A configuration without a fault or a doubt, of which tests replace a section."""

GOOD = {
    "listeners": '[{name: web, bind: "127.0.0.1:8080"}]',
    "pops": "[{name: fra, lat: 50, lon: 8, country: DE, region: eu}, {name: nyc, lat: 40, lon: -74, country: US}]",
    "services": '[{name: shop, backends: [{pop: fra, endpoints: ["a:1"]}, {pop: nyc, endpoints: ["b:1"]}]}]',
    "routes": "[{service: shop}]",
    "geoip": "{overrides: [{prefix: 10.0.0.0/8, lat: 1, lon: 1}]}",
}


def text(**more):
    return "\n".join(f"{key}: {value}" for key, value in {**GOOD, **more}.items())
