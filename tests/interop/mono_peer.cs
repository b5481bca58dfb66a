// Copyright: (c) 2026, the esync.mesh contributors
// GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
// SPDX-License-Identifier: GPL-3.0-or-later

// A server of the mesh written in C#: it calls a peer, and is called, with mutual TLS 1.2 and exact pins.
//
//   call PORT CREDENTIAL PINNED     ask a peer for /esync/health, print the first line and who it says we are
//   serve CREDENTIAL PINNED COUNT   print the port, answer COUNT callers with what they sent, reversed
//
// CREDENTIAL: none, or pfx PATH PASSPHRASE, or pvk CERTIFICATE PATH. PINNED: the only certificate accepted.

using System;
using System.Collections;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;

using Mono.Security.Authenticode;
using PKCS12 = Mono.Security.X509.PKCS12;
using PKCS9 = Mono.Security.X509.PKCS9;

public static class Peer
{
    private static byte[] pinned;

    public static int Main(string[] words)
    {
        var rest = new Queue<string>(words);
        try {
            switch (rest.Dequeue()) {
            case "call":
                int port = int.Parse(rest.Dequeue());
                Call(port, Credential(rest), rest);
                break;
            case "serve":
                Serve(Credential(rest), rest);
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

    private static X509Certificate2 Credential(Queue<string> words)
    {
        switch (words.Dequeue()) {
        case "pfx":
            return new X509Certificate2(words.Dequeue(), words.Dequeue(), X509KeyStorageFlags.Exportable);
        case "pvk":
            return Joined(File.ReadAllBytes(words.Dequeue()), PrivateKey.CreateFromFile(words.Dequeue()));
        default:
            return null;
        }
    }

    // Mono cannot give a key to a certificate, so the two are put into a store in memory, as pvk2pfx does in a file.
    private static X509Certificate2 Joined(byte[] certificate, PrivateKey key)
    {
        var identifier = new ArrayList { new byte[] { 1, 0, 0, 0 } };
        var attributes = new Hashtable { { PKCS9.localKeyId, identifier } };
        var store = new PKCS12 { Password = "memory" };
        store.AddCertificate(new Mono.Security.X509.X509Certificate(certificate), attributes);
        store.AddPkcs8ShroudedKeyBag(new Trimmed(key.RSA), attributes);
        return new X509Certificate2(store.GetBytes(), "memory", X509KeyStorageFlags.Exportable);
    }

    // Mono's writer of PKCS#8 keeps the leading zeros of some numbers: no DER, and refused by Mono's own TLS.
    private sealed class Trimmed : RSA
    {
        private readonly RSA key;

        public Trimmed(RSA key)
        {
            this.key = key;
        }

        public override RSAParameters ExportParameters(bool includePrivateParameters)
        {
            RSAParameters parts = key.ExportParameters(includePrivateParameters);
            parts.D = Trim(parts.D);
            parts.InverseQ = Trim(parts.InverseQ);
            return parts;
        }

        public override void ImportParameters(RSAParameters parameters)
        {
            throw new NotSupportedException();
        }

        private static byte[] Trim(byte[] number)
        {
            return number.SkipWhile(digit => digit == 0).ToArray();
        }
    }

    private static bool IsPinned(object sender, X509Certificate shown, X509Chain chain, SslPolicyErrors errors)
    {
        return shown != null && Convert.ToBase64String(shown.GetRawCertData()) == Convert.ToBase64String(pinned);
    }

    private static void Call(int port, X509Certificate2 own, Queue<string> words)
    {
        pinned = new X509Certificate2(words.Dequeue()).RawData;
        var shown = new X509CertificateCollection();
        if (own != null)
            shown.Add(own);
        using (var connection = new TcpClient("127.0.0.1", port))
        using (var stream = new SslStream(connection.GetStream(), false, IsPinned)) {
            stream.AuthenticateAsClient("mesh", shown, SslProtocols.Tls12, false);
            byte[] request = Encoding.ASCII.GetBytes(
                "GET /esync/health HTTP/1.1\r\nHost: mesh\r\nConnection: close\r\n\r\n");
            stream.Write(request, 0, request.Length);
            var reader = new StreamReader(stream, Encoding.ASCII);
            Console.WriteLine("{0} {1}", stream.SslProtocol, reader.ReadLine());
            for (string line = reader.ReadLine(); !string.IsNullOrEmpty(line); line = reader.ReadLine())
                if (line.StartsWith("X-Esync-Peer"))
                    Console.WriteLine(line);
        }
    }

    private static void Serve(X509Certificate2 own, Queue<string> words)
    {
        pinned = new X509Certificate2(words.Dequeue()).RawData;
        int count = int.Parse(words.Dequeue());
        var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        Console.WriteLine(((IPEndPoint)listener.LocalEndpoint).Port);
        for (; count > 0; count--)
            using (TcpClient connection = listener.AcceptTcpClient())
            using (var stream = new SslStream(connection.GetStream(), false, IsPinned))
                try {
                    stream.AuthenticateAsServer(own, true, SslProtocols.Tls12, false);
                    char[] line = new StreamReader(stream, Encoding.ASCII).ReadLine().ToCharArray();
                    Array.Reverse(line);
                    byte[] answer = Encoding.ASCII.GetBytes(new string(line) + "\n");
                    stream.Write(answer, 0, answer.Length);
                    Console.WriteLine("accepted");
                } catch (Exception error) {
                    Console.WriteLine("refused {0}", error.GetType().Name);
                }
    }
}
