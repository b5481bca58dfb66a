// Copyright: (c) 2026, the esync.mesh contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// Mono reads the files of a set, and writes PVK files. It prints digests only: a key's numbers never leave it.
//
//   certificate PATH | key PATH | pvk PATH [PASSPHRASE] | pfx PATH PASSPHRASE | store PATH PASSPHRASE
//   write KEY none|weak|strong PATH [PASSPHRASE]

using System;
using System.IO;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

using Mono.Security.Authenticode;
using Mono.Security.Cryptography;
using Mono.Security.X509;

public static class Reader
{
    public static int Main(string[] words)
    {
        try {
            switch (words[0]) {
            case "certificate":
                // DER or PEM.
                Show(new X509Certificate2(words[1]).RawData);
                break;
            case "key":
                Show(KeyOf(words[1]));
                break;
            case "pfx":
                // Mono has two readers of PKCS#12: its own, and the one that .NET programs call.
                Show(PKCS12.LoadFromFile(words[1], words[2]));
                break;
            case "store":
                Show(new X509Certificate2(words[1], words[2], X509KeyStorageFlags.Exportable));
                break;
            case "pvk":
                Show(PrivateKey.CreateFromFile(words[1], words.Length > 2 ? words[2] : null).RSA);
                break;
            case "write":
                Write(words[1], words[2], words[3], words.Length > 4 ? words[4] : null);
                break;
            default:
                throw new ArgumentException("unknown command");
            }
            return 0;
        } catch (Exception error) {
            Console.Error.WriteLine("{0}: {1}", error.GetType().Name, error.Message);
            return 1;
        }
    }

    private static void Show(byte[] certificate)
    {
        Console.WriteLine("certificate {0}", Digest(certificate));
    }

    // The eight numbers of RFC 8017, big-endian, without leading zeros, one a line.
    private static void Show(RSA key)
    {
        RSAParameters parts = key.ExportParameters(true);
        byte[][] numbers = {
            parts.Modulus, parts.Exponent, parts.D, parts.P, parts.Q, parts.DP, parts.DQ, parts.InverseQ
        };
        var text = new StringBuilder();
        foreach (byte[] number in numbers)
            text.Append(BitConverter.ToString(number).Replace("-", "").TrimStart('0').ToLowerInvariant()).Append('\n');
        Console.WriteLine("key {0}", Digest(Encoding.ASCII.GetBytes(text.ToString())));
    }

    private static void Show(PKCS12 store)
    {
        if (store.Keys.Count != 1 || store.Certificates.Count != 1)
            throw new CryptographicException(
                store.Keys.Count + " keys and " + store.Certificates.Count + " certificates");
        Show(store.Certificates[0].RawData);
        Show((RSA)store.Keys[0]);
    }

    private static void Show(X509Certificate2 pair)
    {
        Show(pair.RawData);
        if (!pair.HasPrivateKey)
            throw new CryptographicException("no private key");
        Show((RSA)pair.PrivateKey);
    }

    // A private key in PEM (PKCS#8, unencrypted).
    private static RSA KeyOf(string path)
    {
        string[] lines = File.ReadAllLines(path);
        string body = string.Join("", lines, 1, lines.Length - 2);
        return PKCS8.PrivateKeyInfo.DecodeRSA(new PKCS8.PrivateKeyInfo(Convert.FromBase64String(body)).PrivateKey);
    }

    private static void Write(string source, string form, string target, string passphrase)
    {
        var file = new PrivateKey { RSA = KeyOf(source), Weak = form == "weak" };
        file.Save(target, passphrase);
    }

    private static string Digest(byte[] data)
    {
        using (SHA256 hash = SHA256.Create())
            return BitConverter.ToString(hash.ComputeHash(data)).Replace("-", "").ToLowerInvariant();
    }
}
