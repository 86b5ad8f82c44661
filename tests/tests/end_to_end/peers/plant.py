"""Machines of a plant, and what an engineer's programs do with them; each as one command.

plant.py modbus ADDRESS PORT        a controller whose register N holds N
plant.py opcua ADDRESS PORT         a server with one variable that may be written
plant.py s7 ADDRESS PORT            a controller with one data block
plant.py udp ADDRESS PORT           answers each datagram with the same bytes
plant.py echo ADDRESS PORT          the same, and by TCP, where it says how connections begin and end
plant.py ask-modbus ADDRESS PORT    reads three registers, writes one, reads it again
plant.py ask-opcua ADDRESS PORT     reads the variable, writes it, reads it again
plant.py ask-s7 ADDRESS PORT        writes four bytes and reads them again
plant.py ask-udp PROXY ADDRESS PORT sends datagrams of 10 and 4000 bytes through a SOCKS5 proxy
"""

import asyncio
import socket
import struct
import sys
import warnings

warnings.simplefilter("ignore")


def ready():
    print("ready", flush=True)


async def modbus(address, port):
    from pymodbus.datastore import ModbusDeviceContext, ModbusSequentialDataBlock, ModbusServerContext
    from pymodbus.server import ModbusTcpServer

    device = ModbusDeviceContext(hr=ModbusSequentialDataBlock(1, list(range(100))))
    server = ModbusTcpServer(ModbusServerContext(devices=device, single=True), address=(address, port))
    serving = asyncio.create_task(server.serve_forever())
    while not server.is_active():
        await asyncio.sleep(0.01)
    ready()
    await serving


async def opcua(address, port):
    from asyncua import Server, ua

    server = Server()
    await server.init()
    server.set_endpoint(f"opc.tcp://{address}:{port}/")
    server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
    space = await server.register_namespace("urn:plant")
    machine = await server.nodes.objects.add_object(space, "machine")
    variable = await machine.add_variable(ua.NodeId("pressure", space), "pressure", 7)
    await variable.set_writable()
    async with server:
        ready()
        await asyncio.Event().wait()


async def s7(address, port):
    from snap7.server import Server
    from snap7.type import SrvArea

    server = Server()
    server.register_area(SrvArea.DB, 1, bytearray(64))
    server.start(tcp_port=port)
    ready()
    await asyncio.Event().wait()


async def udp(address, port):
    machine = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    machine.bind((address, port))
    ready()
    while True:
        payload, sender = machine.recvfrom(65536)
        machine.sendto(payload, sender)


async def echo(address, port):
    async def serve(reader, writer):
        print("began", flush=True)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
            print("fin", flush=True)
        except ConnectionError:
            print("reset", flush=True)
        writer.close()

    class Back(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, sender):
            self.transport.sendto(data, sender)

    loop = asyncio.get_running_loop()
    _transport, _back = await loop.create_datagram_endpoint(Back, local_addr=(address, port))
    server = await asyncio.start_server(serve, address, port)
    ready()
    await server.serve_forever()


async def ask_modbus(address, port):
    from pymodbus.client import ModbusTcpClient

    client = ModbusTcpClient(address, port=port, timeout=5, retries=0)
    print("connected", client.connect())
    print("read", client.read_holding_registers(4, count=3).registers)
    written = client.write_register(4, 99)
    print("written", written.exception_code if written.isError() else "yes")
    print("read", client.read_holding_registers(4, count=1).registers)


async def ask_opcua(address, port):
    from asyncua import Client, ua

    async with Client(f"opc.tcp://{address}:{port}/", timeout=10) as client:
        space = await client.get_namespace_index("urn:plant")
        variable = client.get_node(ua.NodeId("pressure", space))
        print("read", await variable.read_value())
        await variable.write_value(8)
        print("read", await variable.read_value())


async def ask_s7(address, port):
    from snap7.client import Client

    client = Client()
    client.connect(address, 0, 1, port)
    client.db_write(1, 0, bytearray(b"\x01\x02\x03\x04"))
    print("read", bytes(client.db_read(1, 0, 4)).hex())
    client.disconnect()


async def ask_udp(proxy, address, port):
    """RFC 1928, section 7."""
    host, _, proxy_port = proxy.rpartition(":")
    control = socket.create_connection((host, int(proxy_port)), timeout=10)
    control.sendall(b"\x05\x01\x00")
    assert control.recv(2) == b"\x05\x00"
    control.sendall(b"\x05\x03\x00\x01" + bytes(4) + bytes(2))
    answer = control.recv(10)
    assert answer[:4] == b"\x05\x00\x00\x01", answer
    relay = (socket.inet_ntoa(answer[4:8]), struct.unpack(">H", answer[8:10])[0])
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagrams.settimeout(10)
    head = b"\x00\x00\x00\x01" + socket.inet_aton(address) + struct.pack(">H", port)
    for size in (10, 4000):
        payload = bytes(n % 251 for n in range(size))
        datagrams.sendto(head + payload, relay)
        back = datagrams.recv(65536)
        print("back", size, back == head + payload)


if __name__ == "__main__":
    command = globals()[sys.argv[1].replace("-", "_")]
    *first, last = sys.argv[2:]
    asyncio.run(command(*first, int(last)))
