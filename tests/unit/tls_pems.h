/*
 * Certificates and keys of tests, made once with openssl: a root, an intermediate, and what they signed; valid from 2020 until 2120 where nothing
 * else is said. They guard nothing.
 */
#ifndef WEIR_TESTS_TLS_PEMS_H
#define WEIR_TESTS_TLS_PEMS_H

/* The authority */
static const char root_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBbjCCARSgAwIBAgIUT3oOIt2LAcrXh1HUf4+GgzV04GQwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJVGVzdCBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx\n"
    "MDAwMDAwWjAUMRIwEAYDVQQDDAlUZXN0IFJvb3QwWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAAQ01MZbyJ3Df92WQIcBbl51qn1rdEis/iFOnFRVYTM670ILp1VT5fXr\n"
    "w/NLhvIRGUpPYbRct2yWyLj0zX0icRt5o0IwQDAPBgNVHRMBAf8EBTADAQH/MA4G\n"
    "A1UdDwEB/wQEAwIBBjAdBgNVHQ4EFgQUnBvHUgnDFKTrlOK3h40Q4e1UfXAwCgYI\n"
    "KoZIzj0EAwIDSAAwRQIhANP7YbuIi0a08jn7U+xz43j+gyP0Rn9gihu1QFQQiplE\n"
    "AiA6iF2sduftQIemvwW+p+46dKHsN1mLABfFB/7wMJ8Ysw==\n"
    "-----END CERTIFICATE-----\n";

static const char intermediate_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBlzCCAT2gAwIBAgIUdjxja9J+LXfNCCMgcctuO358JsQwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJVGVzdCBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx\n"
    "MDAwMDAwWjAcMRowGAYDVQQDDBFUZXN0IEludGVybWVkaWF0ZTBZMBMGByqGSM49\n"
    "AgEGCCqGSM49AwEHA0IABFReAoNfKmOS8+brUwTPBmf8icqBksdg3fquejXgqPwL\n"
    "d04lF8DQpmyfVjxkH6tCY1SKRBOJ1rCnjtHtwICbcbijYzBhMA8GA1UdEwEB/wQF\n"
    "MAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQWBBQXqh07/G9mEK5IskkwuOez\n"
    "w7tz9DAfBgNVHSMEGDAWgBScG8dSCcMUpOuU4reHjRDh7VR9cDAKBggqhkjOPQQD\n"
    "AgNIADBFAiEAhKPTsMAiGcGxo+KuJ7Db6TczAls0EhjGfQklOiC17MkCIERDz2No\n"
    "CAFnCRFYaewBDfIqI15p4BV1UnE1iqCRti6o\n"
    "-----END CERTIFICATE-----\n";

/* The same name, another key */
static const char other_intermediate_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBlzCCAT2gAwIBAgIUQxx7d/+HEsqC8Bvp7aL2orBqopwwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJVGVzdCBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx\n"
    "MDAwMDAwWjAcMRowGAYDVQQDDBFUZXN0IEludGVybWVkaWF0ZTBZMBMGByqGSM49\n"
    "AgEGCCqGSM49AwEHA0IABMhgavee/WZdXvUHRFqm2SHsru/OZBVrL/JfBHwAJj+6\n"
    "Shs0zCoOEulE4WQfm5ZmaED1rcBTbdZ3n0na2uD+cWujYzBhMA8GA1UdEwEB/wQF\n"
    "MAMBAf8wDgYDVR0PAQH/BAQDAgEGMB0GA1UdDgQWBBR16KAIrY5pduq3I3ruzxOr\n"
    "jmb7fjAfBgNVHSMEGDAWgBScG8dSCcMUpOuU4reHjRDh7VR9cDAKBggqhkjOPQQD\n"
    "AgNIADBFAiEA94HbARuSO7zE76aeWk59LJQX/Tk3igSuBbqFvjZBQzsCIDT1x1Az\n"
    "tkGjEuLid5S4Da3teHWT0/BUnf8vnB0NAerN\n"
    "-----END CERTIFICATE-----\n";

/* /C=DE/O=Example\/Sons/CN=www.example.com; www.example.com, *.example.com, Example.COM */
static const char ecdsa_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIB7zCCAZWgAwIBAgIUfX0DhD8TPIfzIfuPSZhbePvAcbwwCgYIKoZIzj0EAwIw\n"
    "HDEaMBgGA1UEAwwRVGVzdCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgP\n"
    "MjEyMDAxMDEwMDAwMDBaMD4xCzAJBgNVBAYTAkRFMRUwEwYDVQQKDAxFeGFtcGxl\n"
    "L1NvbnMxGDAWBgNVBAMMD3d3dy5leGFtcGxlLmNvbTBZMBMGByqGSM49AgEGCCqG\n"
    "SM49AwEHA0IABBo1UKcwf0gq4HA9Huf22OK2QZ4ICZQFU7CfyVUZMem8u2t/linv\n"
    "39Lh8ev47vzz+A7AKbSnZ9AICSEGPbD+uaajgZAwgY0wNgYDVR0RBC8wLYIPd3d3\n"
    "LmV4YW1wbGUuY29tgg0qLmV4YW1wbGUuY29tggtFeGFtcGxlLkNPTTATBgNVHSUE\n"
    "DDAKBggrBgEFBQcDATAdBgNVHQ4EFgQU5dTvqV7ih4O4TYLZoY1eipjFq4AwHwYD\n"
    "VR0jBBgwFoAUF6odO/xvZhCuSLJJMLjns8O7c/QwCgYIKoZIzj0EAwIDSAAwRQIh\n"
    "ANunQ6LLN8FeYdobYsHQ78rY6liPQ+ozJhTBukSecXBVAiBqWvvnuGaEOY49rS4w\n"
    "gxX5Fr9DKdaLYWpMdsQm5c8yvw==\n"
    "-----END CERTIFICATE-----\n";

static const char ecdsa_key_pem[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgAUP6cEkHZb0rbghc\n"
    "2FYKs6K6p/0/OG3dz6YVMqy0jfShRANCAAQaNVCnMH9IKuBwPR7n9tjitkGeCAmU\n"
    "BVOwn8lVGTHpvLtrf5Yp79/S4fHr+O788/gOwCm0p2fQCAkhBj2w/rmm\n"
    "-----END PRIVATE KEY-----\n";

/* The same in the older form */
static const char ecdsa_sec1_key_pem[] __attribute__((unused)) =
    "-----BEGIN EC PRIVATE KEY-----\n"
    "MHcCAQEEIAFD+nBJB2W9K24IXNhWCrOiuqf9Pzht3c+mFTKstI30oAoGCCqGSM49\n"
    "AwEHoUQDQgAEGjVQpzB/SCrgcD0e5/bY4rZBnggJlAVTsJ/JVRkx6by7a3+WKe/f\n"
    "0uHx6/ju/PP4DsAptKdn0AgJIQY9sP65pg==\n"
    "-----END EC PRIVATE KEY-----\n";

static const char ecdsa_encrypted_key_pem[] __attribute__((unused)) =
    "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
    "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAiIEgzupvtzpAICCAAw\n"
    "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEBD6U/BeeHdeyi8eKBLYDU0EgZBq\n"
    "BeIUTTslp2jvMJbYK5X1QsWVj40bT9dC4zF2mM0UdijvRhA6AMshOVCm65jDP3Ao\n"
    "i4Js5hR5LBQAJVxyEY5DLYWqZQ83wVzbvqlrGgXj3QMXW39Q1zBbjjlY1R0yT56Q\n"
    "goqGI/v02y5jpviqsBtGk5bZvs5i75a0Mo2+QThmPoOV0G4y+tyjt0GH2rCXyCc=\n"
    "-----END ENCRYPTED PRIVATE KEY-----\n";

/* ecdsa_pem's, until 2021 */
static const char expired_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIB7TCCAZOgAwIBAgIUVDEouTlEoypb8X70F4fd3mHdwJowCgYIKoZIzj0EAwIw\n"
    "HDEaMBgGA1UEAwwRVGVzdCBJbnRlcm1lZGlhdGUwHhcNMjAwMTAxMDAwMDAwWhcN\n"
    "MjEwMTAxMDAwMDAwWjA+MQswCQYDVQQGEwJERTEVMBMGA1UECgwMRXhhbXBsZS9T\n"
    "b25zMRgwFgYDVQQDDA93d3cuZXhhbXBsZS5jb20wWTATBgcqhkjOPQIBBggqhkjO\n"
    "PQMBBwNCAAQaNVCnMH9IKuBwPR7n9tjitkGeCAmUBVOwn8lVGTHpvLtrf5Yp79/S\n"
    "4fHr+O788/gOwCm0p2fQCAkhBj2w/rmmo4GQMIGNMDYGA1UdEQQvMC2CD3d3dy5l\n"
    "eGFtcGxlLmNvbYINKi5leGFtcGxlLmNvbYILRXhhbXBsZS5DT00wEwYDVR0lBAww\n"
    "CgYIKwYBBQUHAwEwHQYDVR0OBBYEFOXU76le4oeDuE2C2aGNXoqYxauAMB8GA1Ud\n"
    "IwQYMBaAFBeqHTv8b2YQrkiySTC457PDu3P0MAoGCCqGSM49BAMCA0gAMEUCIAgn\n"
    "i9UF25h8kmbjCax6msMoyrSIyuwiyIdQqjyAOD/PAiEA6H6eTXKF/MlEpAz3QKzq\n"
    "M7ak/lstCV/Pw/kzAaMHYpI=\n"
    "-----END CERTIFICATE-----\n";

/* CN=www.example.com, the same names */
static const char rsa_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIClTCCAjygAwIBAgIURnBTlypP+KSwB4ALzBXG7c2vtCgwCgYIKoZIzj0EAwIw\n"
    "HDEaMBgGA1UEAwwRVGVzdCBJbnRlcm1lZGlhdGUwIBcNMjAwMTAxMDAwMDAwWhgP\n"
    "MjEyMDAxMDEwMDAwMDBaMBoxGDAWBgNVBAMMD3d3dy5leGFtcGxlLmNvbTCCASIw\n"
    "DQYJKoZIhvcNAQEBBQADggEPADCCAQoCggEBAKWIRDVbXR6DTuFkOz1SdTAtbjCB\n"
    "dn7rgq5VhnPZIQ+dEZquVjg+WzTOdOhntzy7AEitTDQuF49KZde22qCV63zUa5pT\n"
    "jGY/a9c5zffVSsGjsL6tPzZ2XkTPqEFI3XLZ2zjw/vbNDFIPlTInSOxL+sGYv6H/\n"
    "lzTB409lQZUFqt1wHVz7fa/D53tbq94t0wbUADo3bBhHtoQr+iU6aMpvWnLze6sv\n"
    "R9vdEgVDxU4hYfnKggbdKGJAQDRSGTvPQoqJ8a36lHB5SjpCeDwnv0T6Dh/dzkNc\n"
    "8fbw1Zeb0Pd1Vd9NoFzIAVsTW/iS85zRn72eC9U63Rkx2qBsVm+T+oDzmDcCAwEA\n"
    "AaOBkDCBjTA2BgNVHREELzAtgg93d3cuZXhhbXBsZS5jb22CDSouZXhhbXBsZS5j\n"
    "b22CC0V4YW1wbGUuQ09NMBMGA1UdJQQMMAoGCCsGAQUFBwMBMB0GA1UdDgQWBBTn\n"
    "EyICw1x/aUP8v6GnCl/xz0uZAjAfBgNVHSMEGDAWgBQXqh07/G9mEK5IskkwuOez\n"
    "w7tz9DAKBggqhkjOPQQDAgNHADBEAiBD+yLvZLKa7Q3UD2vJ+88NhUEb9riONszp\n"
    "gPKK4YtyvAIgPctakb1dW/wifc9TNYz2CYkzZq+RZoBMV63WTHJ7k3I=\n"
    "-----END CERTIFICATE-----\n";

static const char rsa_key_pem[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCliEQ1W10eg07h\n"
    "ZDs9UnUwLW4wgXZ+64KuVYZz2SEPnRGarlY4Pls0znToZ7c8uwBIrUw0LhePSmXX\n"
    "ttqglet81GuaU4xmP2vXOc331UrBo7C+rT82dl5Ez6hBSN1y2ds48P72zQxSD5Uy\n"
    "J0jsS/rBmL+h/5c0weNPZUGVBardcB1c+32vw+d7W6veLdMG1AA6N2wYR7aEK/ol\n"
    "OmjKb1py83urL0fb3RIFQ8VOIWH5yoIG3ShiQEA0Uhk7z0KKifGt+pRweUo6Qng8\n"
    "J79E+g4f3c5DXPH28NWXm9D3dVXfTaBcyAFbE1v4kvOc0Z+9ngvVOt0ZMdqgbFZv\n"
    "k/qA85g3AgMBAAECggEACWo0MvK026jtQh2Qzv6TIr/avhCG/FYJ0z+TC6DEZB5z\n"
    "Y2BaEA3f4yOA+7z2a5JZREjzBh6/AUvief/w9GRChhGQ4zCwUhp2WEH16IwtmdDl\n"
    "GxtAdqkJ2JEVCU2LJt6kPNtcLQ5hjoNLYZRhbesuYnd9IsomP/5tHtVsAv1VCA4i\n"
    "YAe8UWQpUShtFtt9s4jeaCX0w950v15Fso27gW6SVo9+HkD13F9zFU3Gmh2ciMbv\n"
    "sE2oKAWGToxFwNU6ukOpqY/QZZIDsGeLKhkKV4Z/Lt20ROPRUJWo1Xe1mIJ2dOX/\n"
    "E52KH1Ui2gGVbijd3PHRy8txzw6iuPlg1QjPaWfF2QKBgQDiNKNvFPoNausuJ/9p\n"
    "uVR5YnzLpu3LU/bSy8rUZLadNm06+/pmOuL2bCeqdRkqYyumAoD7VmPegtdYW7oR\n"
    "4Rx7LT42kxzy5JmLQCCgIL0x97EYJd7tBDaJV/MgazOTkL0B5Ht8oSqvbkO0y4xt\n"
    "tmPrfkccgoSAKjOA2Ek7CUVdTwKBgQC7Vc07wJAuhGMDV0vNQ0tnUWcejIhn/VmD\n"
    "u/XXsPQySk5eyHmWKY7EFX8lZb18AAKVVITNXVX0a6C2SqOXXw5ZDwFkQn8KWe+x\n"
    "xhEMw/YSfcGQMrVB33cRJFJj9L9f7yOX3nwhfoSzDhL78SazVDQQ6dbmbjHiVcx4\n"
    "+9Pv+WbsmQKBgQCywcI9sCgCnnGHohgXJlv5KLlR/nKAcbPl1SJOQeCF0FL1f9bb\n"
    "HsHo1oNqEut2MbR2lhfzhsuZNXCT5LjgFDL7rD8zxYHk+H3WKzEdGYIpkIGkgZjv\n"
    "WJr4YkZBYjX58TFL45EqZfpjdBGROCGbOb0whjQP9Zxb4/2bXlBQlPz5xQKBgQCR\n"
    "cEul2BoYAy/bqCpxcY1Y6Rnl3bUJBug4HfT/P6JWaNnvPDUpH5p3ITlVD2fMnTVk\n"
    "OfngdlYFLInY/JmFK4c4HS43aGi44Jn2qo8SGhEwyfE8wiF2wsbtyAUvFRR+pmo7\n"
    "vb8hQdhEKukSMGabUwQZHXJ585NG5NWaF+iypi4CAQKBgChawXsIQVLWU9Pyq5ai\n"
    "R6krxlzjK21ts5ZMu9VuJhTdktRUHyz1+1Tfs87HLy4ul/lDHRgJ0RMsO9tOBRPL\n"
    "fUvTzvaeAgQKwUJbSiqLSFIMsRE7FMbY5zvbRGfjxVi9J57w4jqP5sOxsmbDtJPp\n"
    "z/Ao/M6whdQgrbMAqU/WZ4vr\n"
    "-----END PRIVATE KEY-----\n";

/* No subjectAltName: CN=384.example.com */
static const char p384_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBbjCB9AIUSnJuZiecu5X/2tOVajh6ugVGgHYwCgYIKoZIzj0EAwIwGjEYMBYG\n"
    "A1UEAwwPMzg0LmV4YW1wbGUuY29tMCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx\n"
    "MDAwMDAwWjAaMRgwFgYDVQQDDA8zODQuZXhhbXBsZS5jb20wdjAQBgcqhkjOPQIB\n"
    "BgUrgQQAIgNiAARj8OD0b3Zp1HJARnUyyvyo7Srw2QeD8rz1ufbRB3mA2kfJL4Nw\n"
    "qKDq+jFekCmWgdE2pBWHy7St1MqdixztkcdbLph7bkPfK/4ToWsNY+yDv5XXikTa\n"
    "sHIEXu0HEMW/2v0wCgYIKoZIzj0EAwIDaQAwZgIxAP9Z2YmPebKtmvzY47zp0u2u\n"
    "Yh8eSj5eehAOlvo7va0IUu/RfL06vyxinGsJ7o1HDAIxANwJT367sDhBNV1kQQzc\n"
    "pQAKKTs+Z0AqibjyO1RIkEPftXviLPK9BOsLwm2BNngsoQ==\n"
    "-----END CERTIFICATE-----\n";

static const char p384_key_pem[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAJcvWA4+uzRT2fghvs\n"
    "FIqVRSdQthg5BQ3dS9To2MYcN88QrS8nCVZT1pXmVmgiV1mhZANiAARj8OD0b3Zp\n"
    "1HJARnUyyvyo7Srw2QeD8rz1ufbRB3mA2kfJL4NwqKDq+jFekCmWgdE2pBWHy7St\n"
    "1MqdixztkcdbLph7bkPfK/4ToWsNY+yDv5XXikTasHIEXu0HEMW/2v0=\n"
    "-----END PRIVATE KEY-----\n";

static const char p521_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBtzCCARoCFE9wQZkSoK7ZXFKFlW9JE0BO46hCMAoGCCqGSM49BAMCMBoxGDAW\n"
    "BgNVBAMMDzUyMS5leGFtcGxlLmNvbTAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEw\n"
    "MTAwMDAwMFowGjEYMBYGA1UEAwwPNTIxLmV4YW1wbGUuY29tMIGbMBAGByqGSM49\n"
    "AgEGBSuBBAAjA4GGAAQAL1hZ3sslW7xjkBEjqi6DuGSKCR/4uwDahX48SSkBqjXC\n"
    "a02yItzu6bxNqI3yuRWeMOjapL9RiGwMUu0xBSF1tCcABPxJDAcECs4peX7j2Sg/\n"
    "CWcgvXLkhnDQvoaePjvs2rtocHL4b7RsBYgf2dfQNkelTPznCeHmcaviIpAdI6eM\n"
    "KqEwCgYIKoZIzj0EAwIDgYoAMIGGAkIByHQce3T9zN1LaucRkKzwnO4KEOFakH/Q\n"
    "7UvxNWnad1G47XMGzc09c1CWuFZThDj4tjKqS+cZrbXMlUypfD+5LTUCQBFy7zD+\n"
    "xmvf+QcEa8SQy5h7+vDnyU8/W9ysrMLMZiC901WOAf/vtV+ebMWCfx9HqxXFRgtn\n"
    "ofvaIPGP3ggM9II=\n"
    "-----END CERTIFICATE-----\n";

/* RSA, 1024 bits */
static const char weak_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBujCCASMCFFdIHcBIhbR87nv9Gkay3aNffMTUMA0GCSqGSIb3DQEBCwUAMBsx\n"
    "GTAXBgNVBAMMEHdlYWsuZXhhbXBsZS5jb20wIBcNMjAwMTAxMDAwMDAwWhgPMjEy\n"
    "MDAxMDEwMDAwMDBaMBsxGTAXBgNVBAMMEHdlYWsuZXhhbXBsZS5jb20wgZ8wDQYJ\n"
    "KoZIhvcNAQEBBQADgY0AMIGJAoGBALnrG4s2iFTLMWvL5LbyDIhk3EmpfkoybmL0\n"
    "pEnZe5FtdY3VrgBJ65Fp++6PAUqjRXke4BWH/1S6csH3GQiw7qAeTSRsesm09luF\n"
    "oJ3m9uTsnNUOlDpo95M88PQPMYmt9PcHEJsXbDwWN0Z2PsVWH9SRoRHQ2d9dWUnQ\n"
    "40PnIHvjAgMBAAEwDQYJKoZIhvcNAQELBQADgYEAXY/8StWxxVkQyvWKDb87K7gk\n"
    "so4Aoh4O7ahWQFV/jEfpbxkVSImFVwXELRM0UItJ+C9Zgt3wloVbD0EeFFarOYuz\n"
    "FI9iVeSb1uQ/So2YH29a4VCiZm4TO2PaFErtX+Zo4u5aLZatLna/HVBe6/DCmsqX\n"
    "FJxNpuQzqFxTStrX69s=\n"
    "-----END CERTIFICATE-----\n";

static const char ed25519_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIHuMIGhAhQhDag7cbAaV7PhTF9EchrqgIeP/jAFBgMrZXAwGTEXMBUGA1UEAwwO\n"
    "ZWQuZXhhbXBsZS5jb20wIBcNMjAwMTAxMDAwMDAwWhgPMjEyMDAxMDEwMDAwMDBa\n"
    "MBkxFzAVBgNVBAMMDmVkLmV4YW1wbGUuY29tMCowBQYDK2VwAyEADwhI5jS5p8XG\n"
    "43+Aw2ohIGTyKw2wrwS8y2pcllCJLcswBQYDK2VwA0EA1zDZKESiBHSFZORqXWfV\n"
    "CYVP/eKGAZRFLqwJ4UcesMZqcrIOYtD+Xjy6IQ7AoQk/EW6xCizymCP5nJPiy983\n"
    "Cw==\n"
    "-----END CERTIFICATE-----\n";

/* O=Example, CN=alice, by the root */
static const char client_pem[] __attribute__((unused)) =
    "-----BEGIN CERTIFICATE-----\n"
    "MIIBkDCCATegAwIBAgIUYmlpk4G5JkE7oC57LLHW6/c6C1kwCgYIKoZIzj0EAwIw\n"
    "FDESMBAGA1UEAwwJVGVzdCBSb290MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx\n"
    "MDAwMDAwWjAiMRAwDgYDVQQKDAdFeGFtcGxlMQ4wDAYDVQQDDAVhbGljZTBZMBMG\n"
    "ByqGSM49AgEGCCqGSM49AwEHA0IABF8tjPpK+jGPb5sqgPu4XTNXsfw4Yf/i1Tp4\n"
    "nMIdyyxqheFE0XyeRiWW/4Q41s6nfizxIu+/Xy83nVnJo1Qv5GqjVzBVMBMGA1Ud\n"
    "JQQMMAoGCCsGAQUFBwMCMB0GA1UdDgQWBBSj6qLw47RDb2+8Wcqt7LMTzbBwnTAf\n"
    "BgNVHSMEGDAWgBScG8dSCcMUpOuU4reHjRDh7VR9cDAKBggqhkjOPQQDAgNHADBE\n"
    "AiAsxJcwRNciQmJw897IqnRjrFcVttcPqiCOYs/YeHgZkAIgRhjWyObmldZr7Rlf\n"
    "/jg2zTlAsKfa1BlxMAgqPGZJsPU=\n"
    "-----END CERTIFICATE-----\n";

static const char client_key_pem[] __attribute__((unused)) =
    "-----BEGIN PRIVATE KEY-----\n"
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgd0zJWV6AX/wPeHDO\n"
    "dcccx9ijMOD59UtxJFuDSspt4F6hRANCAARfLYz6Svoxj2+bKoD7uF0zV7H8OGH/\n"
    "4tU6eJzCHcssaoXhRNF8nkYllv+EONbOp34s8SLvv18vN51ZyaNUL+Rq\n"
    "-----END PRIVATE KEY-----\n";

#endif
