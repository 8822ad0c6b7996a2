/** Decisions of the inbound program on made-up lookups (BPF_PROG_TEST_RUN); no namespace is involved. */
import test from 'ava';
import { INBOUND_PROGRAM, loadCaptureObject } from '../../src/bpf/capture-object.ts';
import { addressKey, cookieKey, POD_FLAGS, podConfigValue } from '../../src/bpf/layout.ts';

const POD_COOKIE = 7001n;
const POD = { 4: '10.0.0.2', 6: 'fd00::2' } as const;
const CLIENT = { 4: '10.0.9.9', 6: 'fd00::9:9' } as const;
const { active, ingressBypass, ipv6 } = POD_FLAGS;

interface Lookup {
  readonly to?: string;
  readonly port?: number;
  readonly from?: string;
  readonly fromPort?: number;
  /** IPPROTO_TCP unless told. */
  readonly protocol?: number;
}

const { programs, maps } = loadCaptureObject({ mapDir: undefined });
const program = programs.get(INBOUND_PROGRAM);

function setPod(flags: number): void {
  maps.get('pods')?.set(cookieKey(POD_COOKIE), podConfigValue({ flags, ip4: POD[4], ip6: POD[6] }));
  for (const ip of Object.values(POD)) maps.get('owners')?.set(addressKey(ip), cookieKey(POD_COOKIE));
}

/** struct bpf_sk_lookup. */
function context({ to = POD[4], port = 8080, from = CLIENT[4], fromPort = 40_000, protocol = 6 }: Lookup): Buffer {
  const bytes = Buffer.alloc(72);
  const isV4 = !to.includes(':');
  bytes.writeUInt32LE(isV4 ? 2 : 10, 8);
  bytes.writeUInt32LE(protocol, 12);
  bytes.writeUInt16BE(fromPort, 36);
  bytes.writeUInt32LE(port, 60);
  if (isV4) {
    addressKey(from).copy(bytes, 16, 12);
    addressKey(to).copy(bytes, 40, 12);
  } else {
    addressKey(from).copy(bytes, 20);
    addressKey(to).copy(bytes, 44);
  }
  return bytes;
}

const decides = test.macro((t, flags: number, lookup: Lookup, expected: 'pass' | 'drop') => {
  setPod(flags);
  const returned = program?.testRun({ context: context(lookup) }).returned;
  t.is(returned === 1 ? 'pass' : 'drop', expected);
});

const ON = active | ipv6;
const V6 = { to: POD[6], from: CLIENT[6] };
test.serial('without a listener a captured connection is refused', decides, ON, {}, 'drop');
test.serial('the same over IPv6', decides, ON, V6, 'drop');
test.serial('control: a pod that is not active is left alone', decides, ipv6, {}, 'pass');
test.serial('control: the same over IPv6', decides, ipv6, V6, 'pass');
test.serial('IPv6 is left alone when it is not captured', decides, active, V6, 'pass');
test.serial('datagrams are left alone', decides, ON, { protocol: 17 }, 'pass');
test.serial('the HBONE port is open', decides, ON, { port: 15_008 }, 'pass');
for (const port of [15_001, 15_006, 15_053]) {
  test.serial(`${port} is closed to the outside`, decides, ON, { port }, 'drop');
  test.serial(`${port} is closed to the outside over IPv6`, decides, ON, { ...V6, port }, 'drop');
  test.serial(`${port} is open to the pod itself`, decides, ON, { port, from: POD[4] }, 'pass');
}
test.serial('loopback is left alone', decides, ON, { to: '127.0.0.1', from: '127.0.0.1' }, 'pass');
test.serial('all of 127/8 is loopback', decides, ON, { to: '127.9.9.9', from: '127.0.0.1' }, 'pass');
test.serial('IPv6 loopback is left alone', decides, ON, { to: '::1', from: '::1' }, 'pass');
test.serial("the pod's own address is left alone", decides, ON, { from: POD[4] }, 'pass');
test.serial("the pod's own IPv6 address is left alone", decides, ON, { to: POD[6], from: POD[6] }, 'pass');
test.serial('probes pass', decides, ON, { from: '169.254.7.127' }, 'pass');
test.serial('IPv6 probes pass', decides, ON, { ...V6, from: 'fd16:9254:7127:1337:ffff:ffff:ffff:ffff' }, 'pass');
test.serial('a neighbour of the probe address does not', decides, ON, { from: '169.254.7.126' }, 'drop');
test.serial('inbound bypass', decides, ON | ingressBypass, {}, 'pass');
test.serial(
  'inbound bypass does not open the ports of the tunnel',
  decides,
  ON | ingressBypass,
  { port: 15_001 },
  'drop',
);
test.serial('an address that the agent does not know is refused', decides, ON, { to: '10.0.0.77' }, 'drop');
test.serial('an address whose pod is gone is refused', (t) => {
  setPod(ON);
  maps.get('pods')?.delete(cookieKey(POD_COOKIE));
  t.is(program?.testRun({ context: context({}) }).returned, 0);
});

test.serial('a connection of the tunnel passes, and only that one', (t) => {
  setPod(ON);
  const key = Buffer.alloc(48);
  cookieKey(POD_COOKIE).copy(key);
  addressKey(CLIENT[4]).copy(key, 8);
  addressKey(POD[4]).copy(key, 24);
  key.writeUInt32LE(40_000, 40);
  key.writeUInt32LE(8080, 44);
  maps.get('tunnel_connections')?.set(key, Buffer.of(1));
  const returned = (lookup: Lookup): number | undefined => program?.testRun({ context: context(lookup) }).returned;
  t.is(returned({}), 1);
  t.is(returned({ fromPort: 40_001 }), 0);
  t.is(returned({ port: 8081 }), 0);
  t.is(returned({ from: '10.0.9.8' }), 0);
  maps.get('tunnel_connections')?.delete(key);
  t.is(returned({}), 0);
});
